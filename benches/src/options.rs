//! The command line.

use anyhow::{Context, bail};

/// The help page.
pub(crate) const HELP: &str = "\
Measures the filter beside Envoy's own OpenTelemetry tracer, on this machine, in one run, and masking by itself.

USAGE
    cargo xtask bench [OPTIONS]

OPTIONS
    --samplers          streams that are not recorded, by sampler, instead
    --growth            more headers, attributes and routes instead
    --scale             throughput by workers, connections and protocol instead
    --soak, --long      one Envoy under load for an hour instead: memory, and whether the books balance
    --quick             few rounds, for a look; docs/ stays as it is
    --rounds N          rounds that count (default 60)
    --requests N        requests to each variant in each round (default 1400)
    --connections N     keep-alive connections to each variant (default 4)
    --starts N          starts of Envoy with each filter and without (default 7)
    --seconds N         how long memory is watched under load (default 300; 3600 with --soak; 0: not at all)
    --no-pin            leave it to the kernel which core runs what
    --no-write          write no file

The exit code is 0 when the run measured what it says, even if it is inconclusive; the output says which.
";

/// What is to be measured, and how often.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools, reason = "switches of a command line")]
pub(crate) struct Options {
    /// Rounds that count.
    pub(crate) rounds: usize,
    /// Rounds before them that do not: code is still being compiled, connections made.
    pub(crate) warm_up: usize,
    /// Requests to each variant in each round.
    pub(crate) requests: usize,
    /// Keep-alive connections to each variant, each with one request at a time.
    pub(crate) connections: usize,
    /// Starts of Envoy, with the filter and without.
    pub(crate) starts: usize,
    /// Whether the measured Envoys have a core of their own.
    pub(crate) pin: bool,
    /// Whether files are written.
    pub(crate) write: bool,
    /// Whether this is for a look only.
    pub(crate) quick: bool,
    /// What is compared.
    pub(crate) subject: Subject,
    /// Seconds under load before memory is looked at.
    pub(crate) seconds: usize,
}

/// What a run is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Subject {
    /// The filter beside Envoy's tracers, and all that has a mark.
    Tracers,
    /// Samplers that record nothing.
    Samplers,
    /// More headers, attributes and routes.
    Growth,
    /// Workers, connections and protocols.
    Scale,
    /// One Envoy for a long time.
    Soak,
}

impl Subject {
    /// Its option.
    pub(crate) const fn option(self) -> &'static str {
        match self {
            Self::Tracers => "",
            Self::Samplers => "--samplers",
            Self::Growth => "--growth",
            Self::Scale => "--scale",
            Self::Soak => "--soak",
        }
    }

    /// The part of the page that is its own, and the name of its files.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Tracers => "tracers",
            Self::Samplers => "samplers",
            Self::Growth => "growth",
            Self::Scale => "scale",
            Self::Soak => "soak",
        }
    }

    /// For how long memory is watched unless the command line says.
    pub(crate) const fn seconds(self) -> usize {
        match self {
            Self::Tracers => 300,
            Self::Soak => 3600,
            _ => 0,
        }
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            rounds: 60,
            warm_up: 4,
            requests: 1400,
            connections: 4,
            starts: 7,
            pin: true,
            write: true,
            quick: false,
            subject: Subject::Tracers,
            seconds: Subject::Tracers.seconds(),
        }
    }
}

/// What the command line asks for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    /// To measure.
    Run(Options),
    /// The help page.
    Help,
}

/// Reads the command line; later options win over `--quick` wherever they stand.
pub(crate) fn read(arguments: impl Iterator<Item = String>) -> anyhow::Result<Asked> {
    // What takes an hour is looked for under this name as well.
    let long = |argument: String| if argument == "--long" { Subject::Soak.option().to_owned() } else { argument };
    let mut arguments = arguments.map(long).collect::<Vec<_>>();
    let mut options = Options::default();
    for subject in [Subject::Samplers, Subject::Growth, Subject::Scale, Subject::Soak] {
        if arguments.iter().any(|argument| argument == subject.option()) {
            if options.subject != Subject::Tracers {
                bail!("`{}` and `{}` are two runs", options.subject.option(), subject.option());
            }
            options = Options { subject, seconds: subject.seconds(), ..options };
        }
    }
    let before = arguments.len();
    arguments.retain(|argument| argument != "--quick");
    if arguments.len() != before {
        options =
            Options { rounds: 8, warm_up: 2, starts: 3, quick: true, seconds: options.seconds.min(10), ..options };
    }
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        let (name, joined) = match argument.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (argument.as_str(), None),
        };
        let slot = match name {
            "--help" | "-h" => return Ok(Asked::Help),
            "--no-write" => {
                options.write = false;
                continue;
            }
            "--samplers" | "--growth" | "--scale" | "--soak" => continue,
            "--no-pin" => {
                options.pin = false;
                continue;
            }
            "--rounds" => &mut options.rounds,
            "--requests" => &mut options.requests,
            "--connections" => &mut options.connections,
            "--starts" => &mut options.starts,
            "--seconds" => &mut options.seconds,
            other => bail!("no option `{other}`; `cargo xtask bench --help` lists them"),
        };
        let value = joined.or_else(|| rest.next().map(String::as_str));
        let value = value.with_context(|| format!("`{name}` needs a number"))?;
        *slot = value
            .parse()
            .ok()
            .filter(|number| *number > 0 || name == "--seconds")
            .with_context(|| format!("`{name}` needs a number above 0, not `{value}`"))?;
    }
    Ok(Asked::Run(options))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_come_joined_or_apart_and_win_over_quick() {
        let read = |line: &str| read(line.split_whitespace().map(str::to_owned));
        let standard = Options::default();
        let quick = Options { rounds: 8, warm_up: 2, starts: 3, quick: true, seconds: 10, ..standard };
        for (line, expected) in [
            ("", standard),
            ("--rounds 3", Options { rounds: 3, ..standard }),
            ("--requests=50 --no-write", Options { requests: 50, write: false, ..standard }),
            ("--quick", quick),
            ("--rounds 5 --quick", Options { rounds: 5, ..quick }), // in either order
            ("--no-pin", Options { pin: false, ..standard }),
            ("--samplers --quick", Options { subject: Subject::Samplers, seconds: 0, ..quick }),
            ("--soak", Options { subject: Subject::Soak, seconds: 3600, ..standard }),
            ("--long", Options { subject: Subject::Soak, seconds: 3600, ..standard }),
            ("--seconds 60 --soak", Options { subject: Subject::Soak, seconds: 60, ..standard }),
            ("--seconds=0", Options { seconds: 0, ..standard }),
            ("--connections=1 --starts 1", Options { connections: 1, starts: 1, ..standard }),
        ] {
            assert_eq!(read(line).unwrap(), Asked::Run(expected), "{line}");
        }
        assert_eq!(read("--rounds 3 --help").unwrap(), Asked::Help);
        for line in ["--round 3", "--rounds", "--rounds x", "--rounds 0", "--rounds -1", "more", "--long --scale"] {
            assert!(read(line).is_err(), "{line}");
        }
    }
}
