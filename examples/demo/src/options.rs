//! The command line.

use std::path::PathBuf;

use anyhow::{Context, bail};

pub(crate) const HELP: &str = "\
Usage: meshspan-demo [--keep] [--json FILE] [--backend embedded|jaeger] [--alerts]

  --keep               leave all running and print the addresses, until Ctrl-C
  --json FILE          write the traces as JSON
  --backend embedded   where the spans go: the demo's own OTLP receiver (this is the default)
  --backend jaeger     a real Jaeger, which is asked for the traces; needs Go, to build it the first time
  --alerts             then let requests fail until an alert fires, and see it end; needs Prometheus and Alertmanager

Environment: ENVOY_BIN (or MESHSPAN_ENVOY_BINS) names the Envoy, MESHSPAN_WASM the compiled module, MESHSPAN_JAEGER the
Jaeger, MESHSPAN_MONITORING a folder with Prometheus and Alertmanager, and NO_COLOR switches colours off. `cargo xtask
demo` sets all but the last.
";

/// Where the spans go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum BackendKind {
    #[default]
    Embedded,
    Jaeger,
}

/// What was asked for.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Options {
    pub(crate) keep: bool,
    pub(crate) json: Option<PathBuf>,
    pub(crate) backend: BackendKind,
    pub(crate) alerts: bool,
}

impl Options {
    /// `None`: help is wanted.
    pub(crate) fn parse(arguments: impl IntoIterator<Item = String>) -> anyhow::Result<Option<Self>> {
        let mut options = Self::default();
        let mut arguments = arguments.into_iter();
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--keep" => options.keep = true,
                "--json" => {
                    options.json = Some(arguments.next().context("--json needs a file")?.into());
                }
                "--backend" => match arguments.next().as_deref() {
                    Some("embedded") => options.backend = BackendKind::Embedded,
                    Some("jaeger") => options.backend = BackendKind::Jaeger,
                    other => bail!("--backend {}: there are `embedded` and `jaeger`", other.unwrap_or("(nothing)")),
                },
                "--alerts" => options.alerts = true,
                "-h" | "--help" => return Ok(None),
                other => bail!("{other:?} is no option"),
            }
        }
        Ok(Some(options))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Option<Options>, String> {
        Options::parse(line.split_whitespace().map(str::to_owned)).map_err(|error| error.to_string())
    }

    #[test]
    fn options_are_read() {
        assert_eq!(parse(""), Ok(Some(Options::default())));
        let all = Options { keep: true, json: Some("out.json".into()), backend: BackendKind::Jaeger, alerts: true };
        assert_eq!(parse("--keep --json out.json --backend jaeger --alerts"), Ok(Some(all)));
        assert_eq!(parse("--backend embedded"), Ok(Some(Options::default())));
        assert_eq!(parse("--keep --help"), Ok(None));
    }

    #[test]
    fn what_is_no_option_is_named() {
        let cases = [
            ("--json", "needs a file"),
            ("--backend zipkin", "zipkin"),
            ("--backend", "(nothing)"),
            ("--kep", "--kep"),
        ];
        for (line, part) in cases {
            let message = parse(line).expect_err(line);
            assert!(message.contains(part), "{line}: {message}");
        }
    }
}
