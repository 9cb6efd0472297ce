//! Real programs of Go for the end-to-end tests and the demo: an OpenTelemetry Collector, Jaeger and the load generator
//! ghz, compiled from their released sources where there is a Go toolchain. Go keeps its modules and its cache where the user has them.

use crate::partial::Partial;
use crate::places::{Places, on_path};
use crate::process::{output_of, run_logged};
use crate::progress::Step;
use anyhow::{Context, Result};
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The Collector's release. Not the newest, so that the Go that is there is new enough more often.
const COLLECTOR: &str = "0.156.0";
/// The same release of those of its modules that count from 1.
const COLLECTOR_STABLE: &str = "1.62.0";
/// Jaeger's release, as Go's module system names it: this is Jaeger 2.13.0, and its path has no `/v2`.
const JAEGER: &str = "1.76.0";
/// ghz' release.
const GHZ: &str = "0.121.0";

const BUILDER_MODULE: &str = "go.opentelemetry.io/collector/cmd/builder";
const JAEGER_MODULE: &str = "github.com/jaegertracing/jaeger";
const GHZ_MODULE: &str = "github.com/bojand/ghz";

/// Without tables that only a debugger reads; two packages at a time, as a small machine has two cores.
const COMPILE: [&str; 6] = ["build", "-p", "2", "-trimpath", "-ldflags", "-s -w"];

/// A program that is compiled from Go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum GoProgram {
    /// Takes OTLP.
    Collector,
    /// Takes OTLP.
    Jaeger,
    /// Makes gRPC calls, and counts how they end.
    Ghz,
}

impl GoProgram {
    /// For people.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Collector => "OpenTelemetry Collector",
            Self::Jaeger => "Jaeger",
            Self::Ghz => "ghz",
        }
    }

    /// The variable that tells the programs where it is.
    pub(crate) fn variable(self) -> &'static str {
        match self {
            Self::Collector => "MESHSPAN_COLLECTOR",
            Self::Jaeger => "MESHSPAN_JAEGER",
            Self::Ghz => "MESHSPAN_GHZ",
        }
    }

    /// The executable's and its folder's name.
    fn file(self) -> &'static str {
        match self {
            Self::Collector => "collector",
            Self::Jaeger => "jaeger",
            Self::Ghz => "ghz",
        }
    }

    fn version(self) -> &'static str {
        match self {
            Self::Collector => COLLECTOR,
            Self::Jaeger => JAEGER,
            Self::Ghz => GHZ,
        }
    }

    /// What it is built from: where this is another, so is the executable.
    fn recipe(self) -> String {
        match self {
            Self::Collector => manifest(),
            Self::Jaeger => format!("{JAEGER_MODULE} {JAEGER}"),
            Self::Ghz => format!("{GHZ_MODULE} {GHZ}"),
        }
    }

    /// Finds or builds it. `None`, with the reason, where this machine cannot have it: there is no Go, or its sources
    /// cannot be fetched.
    ///
    /// # Errors
    /// When what was fetched does not compile.
    pub(crate) fn get(self, places: &Places, step: &Step) -> Result<(Option<PathBuf>, String)> {
        if let Some(named) = std::env::var_os(self.variable()).filter(|named| !named.is_empty()) {
            let binary = fs::canonicalize(&named)
                .with_context(|| format!("{} names {}, which is not there", self.variable(), named.display()))?;
            let text = format!("{} is used, as {} says", binary.display(), self.variable());
            return Ok((Some(binary), text));
        }
        let folder = places.home.join(format!("{}-{}", self.file(), self.version()));
        let binary = folder.join(self.file());
        let recipe = folder.join("built-from");
        if binary.is_file() && fs::read_to_string(&recipe).is_ok_and(|text| text == self.recipe()) {
            return Ok((Some(binary), "ready".to_owned()));
        }
        let Some(go) = Go::find() else {
            return Ok((None, "skipped: no Go here (go.dev/dl); tests that need it will say so".to_owned()));
        };
        let partial = Partial::new(places, self.file());
        partial.create()?;
        if let Some(why) = self.build(&go, partial.path(), &places.log(self.file())?, step)? {
            return Ok((None, format!("skipped: {why}; tests that need it will say so")));
        }
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder)?;
        fs::rename(partial.path().join(self.file()), &binary)
            .with_context(|| format!("cannot move it to {}", binary.display()))?;
        // Last: with it, all is there.
        fs::write(recipe, self.recipe())?;
        Ok((Some(binary), format!("built {} with {}", self.version(), go.version)))
    }

    /// Builds the executable into `partial`. What comes back is the reason why its sources could not be fetched.
    fn build(self, go: &Go, partial: &Path, log: &Path, step: &Step) -> Result<Option<String>> {
        let sources = match self {
            Self::Collector => fetch_collector(go, partial, log, step),
            Self::Jaeger => fetch(go, partial, &format!("{JAEGER_MODULE}@v{JAEGER}"), "./cmd/jaeger", log, step),
            Self::Ghz => fetch(go, partial, &format!("{GHZ_MODULE}@v{GHZ}"), "./cmd/ghz", log, step),
        };
        let (sources, package) = match sources {
            Ok(sources) => sources,
            Err(error) => return Ok(Some(format!("its sources cannot be fetched: {}", first_lines(&error, log)))),
        };
        step.doing(format!("go compiles it, version {} (some minutes the first time)", self.version()));
        let output = partial.join(self.file());
        let mut compile = go.command(&sources);
        compile.args(COMPILE).arg("-o").arg(output).arg(package);
        run_logged(&mut compile, log)
            .with_context(|| format!("{} {} does not compile", self.name(), self.version()))?;
        Ok(None)
    }
}

/// Where they are, as those that use them are told: a variable each.
pub(crate) fn tell<'c>(command: &'c mut Command, programs: &[(GoProgram, PathBuf)]) -> &'c mut Command {
    for (program, binary) in programs {
        command.env(program.variable(), binary);
    }
    command
}

/// Has the Collector's own builder write the sources of a Collector that takes OTLP and writes files; and the package.
fn fetch_collector(go: &Go, partial: &Path, log: &Path, step: &Step) -> Result<(PathBuf, &'static str)> {
    fs::write(partial.join("manifest.yaml"), manifest())?;
    step.doing(format!("go gets the Collector's builder {COLLECTOR}"));
    let mut install = go.command(partial);
    install.args(["install", "-p", "2", "-ldflags", "-s -w"]).arg(format!("{BUILDER_MODULE}@v{COLLECTOR}"));
    run_logged(install.env("GOBIN", partial), log)?;
    step.doing(format!("the builder gets the Collector's modules {COLLECTOR}"));
    let mut generate = Command::new(partial.join("builder"));
    generate.current_dir(partial).args(["--config", "manifest.yaml", "--skip-compilation"]);
    run_logged(go.offered_to(&mut generate), log)?;
    Ok((partial.join("source"), "."))
}

fn manifest() -> String {
    let own = "go.opentelemetry.io/collector";
    let contributed = "github.com/open-telemetry/opentelemetry-collector-contrib";
    [
        "dist:".to_owned(),
        "  name: collector".to_owned(),
        "  output_path: source".to_owned(),
        "receivers:".to_owned(),
        format!("  - gomod: {own}/receiver/otlpreceiver v{COLLECTOR}"),
        "exporters:".to_owned(),
        format!("  - gomod: {contributed}/exporter/fileexporter v{COLLECTOR}"),
        "providers:".to_owned(),
        // What a configuration without a scheme is read by; it does not start without.
        format!("  - gomod: {own}/confmap/provider/envprovider v{COLLECTOR_STABLE}"),
        format!("  - gomod: {own}/confmap/provider/fileprovider v{COLLECTOR_STABLE}"),
    ]
    .join("\n")
}

/// Gets a module and those that its package needs. It is compiled where Go keeps it, with its own lists of versions and
/// checksums; `go install` would refuse Jaeger, as its list replaces a module.
fn fetch(
    go: &Go,
    partial: &Path,
    module: &str,
    package: &'static str,
    log: &Path,
    step: &Step,
) -> Result<(PathBuf, &'static str)> {
    step.doing(format!("go gets the modules of {module}"));
    let mut download = go.command(partial);
    run_logged(download.args(["mod", "download"]).arg(module), log)?;
    let modules =
        output_of(go.command(partial).args(["env", "GOMODCACHE"])).context("go names no folder of modules")?;
    let sources = Path::new(&modules).join(module);
    // Only what this package needs; the module lists more.
    run_logged(go.command(&sources).args(["list", "-mod=readonly", "-deps", package]), log)?;
    Ok((sources, package))
}

/// What Go said first when it could not fetch something.
fn first_lines(error: &anyhow::Error, log: &Path) -> String {
    let text = error.to_string();
    let said = text.lines().filter_map(|line| line.trim_start().strip_prefix("| ")).find(|line| {
        let noise = ["go: downloading", "go: finding", "\t"];
        !line.trim().is_empty() && noise.iter().all(|noise| !line.starts_with(noise))
    });
    format!(
        "{} (all of it: {})",
        said.map_or_else(|| text.lines().next().unwrap_or_default(), str::trim),
        log.display()
    )
}

/// A Go toolchain.
struct Go {
    binary: PathBuf,
    version: String,
}

impl Go {
    /// On `PATH`, or where its own instructions put it.
    fn find() -> Option<Self> {
        let binary = on_path("go").or_else(|| Some(PathBuf::from("/usr/local/go/bin/go")).filter(|go| go.is_file()))?;
        let version = output_of(Command::new(&binary).args(["env", "GOVERSION"])).filter(|text| !text.is_empty())?;
        Some(Self { binary, version })
    }

    fn command(&self, folder: &Path) -> Command {
        let mut command = Command::new(&self.binary);
        // A workspace of the user's would get in between.
        command.current_dir(folder).env("GOWORK", "off");
        command
    }

    /// For a program that calls `go` itself.
    fn offered_to<'c>(&self, command: &'c mut Command) -> &'c mut Command {
        let own = self.binary.parent().map(Path::to_path_buf).into_iter();
        let path = std::env::var_os("PATH").unwrap_or_default();
        let all =
            std::env::join_paths(own.chain(std::env::split_paths(&path))).unwrap_or_else(|_| OsString::from(&path));
        command.env("PATH", all).env("GOWORK", "off")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_skip_says_what_go_said_first() {
        let log = Path::new("x.log");
        for (output, expected) in [
            (
                "`go` failed (1)\n    | go: downloading a v1\n    | dial tcp: no route\n",
                "dial tcp: no route (all of it: x.log)",
            ),
            (
                "`go` failed (1)\n    | \n    | go: x: 403 Forbidden\n    | more\n",
                "go: x: 403 Forbidden (all of it: x.log)",
            ),
            ("cannot start `builder`: not there", "cannot start `builder`: not there (all of it: x.log)"), // nothing said
        ] {
            assert_eq!(first_lines(&anyhow::anyhow!(output), log), expected, "{output:?}");
        }
    }

    #[test]
    fn every_part_of_the_collector_is_of_one_release() {
        // The stable modules count from 0.94 = 1.0.
        let minor = |version: &str| version.split('.').nth(1).and_then(|minor| minor.parse::<u32>().ok());
        assert_eq!(minor(COLLECTOR), minor(COLLECTOR_STABLE).map(|minor| minor + 94));
    }
}
