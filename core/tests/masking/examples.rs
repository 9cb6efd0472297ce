//! The page's table: each detector with examples, and what becomes of them.

use std::fmt::Write;

use meshspan_core::masking::{Detector, Masker};

/// Two spellings of each secret, and something that only looks like it.
fn examples(detector: Detector) -> [&'static str; 3] {
    match detector {
        Detector::CnMobileNumber => ["13812345678", "tel=%2B86+138-1234-5678", "1700000000123"],
        Detector::CnResidentId => ["11010119900501235X", "/ids/110101-19900501-235X", "11010119900501235Y"],
        Detector::PaymentCard => ["4111111111111111", "card=5555+5555+5555+4444", "4111111111111112"],
        Detector::Email => ["alice@example.com", "/u/alice%40example.com", "/lodash@4.17.21/x.js"],
        Detector::Iban => ["GB82WEST12345698765432", "DE89 3704 0044 0532 0130 00", "GB82WEST12345698765433"],
        Detector::UsSsn => ["123-45-6789", "ssn=123+45+6789", "123456789"],
        Detector::Jwt => [
            "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.dozjgNryP4J3jVmN",
            "t=eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.x",
            "eyJzdWIiOiIxIn0",
        ],
        Detector::HttpCredentials => {
            ["Bearer abc123def456", "auth=Basic%20dXNlcjpwYXNzd29yZA==", "Basic authentication"]
        }
        Detector::AwsAccessKey => ["AKIAIOSFODNN7EXAMPLE", "key=ASIAIOSFODNN7EXAMPLE&x", "AKIAIOSFODNN7"],
        Detector::GcpKey => ["AIzaSyExampleExampleExampleExampleExamp", "ya29.ExampleExampleExample1", "AIzaShort"],
        Detector::GithubToken => {
            ["ghp_ExampleExampleExampleExampleExample1", "ghs_ExampleExampleExampleExampleExample1", "ghp_short"]
        }
        Detector::SlackToken => {
            ["xoxb-1234567890-Example", "https://hooks.slack.com/services/T0/B0/ExampleExample", "xoxo-kiss"]
        }
        // Not one text: it would look like a real key to those who search for them.
        Detector::StripeKey => {
            [concat!("sk_", "live_ExampleExample"), concat!("rk_", "test_ExampleExample"), "sk_live_"]
        }
        Detector::PrivateKey => [
            concat!("-----BEGIN ", "PRIVATE KEY-----MIIE…-----END PRIVATE KEY-----"),
            concat!("-----BEGIN ", "RSA PRIVATE KEY-----MIIE…"),
            "-----BEGIN PUBLIC KEY-----",
        ],
        Detector::UrlCredentials => {
            ["https://user:pass@host/", "postgres%3A%2F%2Fapp%3As3cret%40db", "https://host:8080/@user"]
        }
        Detector::Ipv4 => ["203.0.113.7", "203.0.113.7:8080", "1.2.3.4.5"],
        Detector::Ipv6 => ["2001:db8:85a3::8a2e:370:7334", "[2001:db8::1]:443", "10:22:33"],
    }
}

/// Markdown.
pub(crate) fn table(masker: &Masker) -> String {
    let mut text = String::from("| detector | in | out |\n|---|---|---|\n");
    for detector in Detector::ALL {
        for (index, example) in examples(*detector).iter().enumerate() {
            let out = masker.value("key", example.as_bytes()).expect("nothing is dropped");
            let stays = out.as_str() == *example;
            assert_eq!(stays, index == 2, "{}: {example} became {}", detector.name(), out.as_str());
            let shown = if stays { "stays".to_owned() } else { format!("`{}`", out.as_str()) };
            let name = if index == 0 { format!("`{}`", detector.name()) } else { String::new() };
            let _ = writeln!(text, "| {name} | `{example}` | {shown} |");
        }
    }
    text
}
