//! `cargo xtask slo FILE`, and `meshspan-slo FILE` in a release: writes the Prometheus rules of a file of service level
//! objectives to the standard output, or to `--output FILE`.

use std::path::Path;
use std::process::ExitCode;

use meshspan_slo::{Scale, SloFile, rules, yaml};

const USAGE: &str = "usage: meshspan-slo FILE [--output FILE] (in a checkout: cargo xtask slo)";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &[String]) -> Result<(), String> {
    let (file, output) = match arguments {
        [help] if help == "--help" || help == "-h" => {
            println!("{USAGE}\n\nThe file's keys: docs/alerts.md");
            return Ok(());
        }
        [file] if !file.starts_with('-') => (file, None),
        [file, option, output] | [option, output, file] if option == "--output" => (file, Some(output)),
        _ => return Err(USAGE.to_owned()),
    };
    let text = std::fs::read_to_string(file).map_err(|error| format!("cannot read {file}: {error}"))?;
    let slo_file = SloFile::parse(&text).map_err(|mistakes| format!("{file}: {mistakes}"))?;
    let text = yaml(&header(Path::new(file)), &rules(&slo_file, Scale::REAL));
    let Some(output) = output else {
        print!("{text}");
        return Ok(());
    };
    std::fs::write(output, text).map_err(|error| format!("cannot write {output}: {error}"))
}

/// What stands above the rules.
fn header(file: &Path) -> String {
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    format!("Made from {name} by meshspan-slo (`cargo xtask slo`): change that file, and make this one again.")
}
