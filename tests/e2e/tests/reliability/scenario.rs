//! How a fault is played: load with a healthy backend, then the same load with the fault, then all is well again; and
//! what has to hold throughout.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use meshspan_kit::envoy::EnvoyBinary;
use meshspan_kit::receiver::Behaviour;

use crate::books::Books;
use crate::report::Row;
use crate::stage::{Measured, Setting, Stage, Way, at_once, fault_time, long, play};

/// A fault of the backend, and what it may cost.
pub(crate) struct Scenario {
    /// As the table calls it.
    pub(crate) fault: &'static str,
    pub(crate) setting: Setting,
    /// What happens while load runs, until the given moment.
    pub(crate) happens: Box<Happening>,
    pub(crate) lost: Lost,
    /// Whether the backend knows as well what it took: it is not broken off in an answer.
    pub(crate) exact: bool,
    /// Whether it is played on the oldest Envoy also when time is short.
    pub(crate) everywhere: bool,
}

/// The fault itself: it begins, and is over when it returns, at the given moment or soon after.
type Happening = dyn Fn(&mut Stage, Instant) -> anyhow::Result<()> + Send + Sync;

/// What may become of spans.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Lost {
    /// All arrive.
    Nothing,
    /// All arrive as far as the exporter can know: it was told success, in words that it could not read.
    Unread,
    /// Some are dropped, for one of these reasons and no other.
    Some(&'static [&'static str]),
    /// As [`Some`](Self::Some), or none.
    Perhaps(&'static [&'static str]),
}

/// How much more memory an Envoy may hold after a fault, bytes: some times what full queues come to. That memory does not
/// creep is for `fault::memory` to show.
const MEMORY: u64 = 32 << 20;

impl Scenario {
    /// The backend answers so.
    pub(crate) fn answers(fault: &'static str, behaviour: Behaviour, lost: Lost) -> Self {
        let happens = move |stage: &mut Stage, end| {
            stage.backend.answer(behaviour.clone());
            stage.watch_books(end)
        };
        Self { fault, setting: Setting::default(), happens: Box::new(happens), lost, exact: true, everywhere: false }
    }

    pub(crate) fn by(mut self, way: Way) -> Self {
        self.setting.way = way;
        self
    }

    /// Also on the oldest Envoy when time is short.
    pub(crate) fn everywhere(mut self) -> Self {
        self.everywhere = true;
        self
    }

    pub(crate) fn play(&self) {
        play(self.fault, self.everywhere, |envoy| self.play_on(envoy));
    }

    /// Several faults, at once where there is no time to play them in turn.
    pub(crate) fn play_all<const COUNT: usize>(scenarios: [Self; COUNT]) {
        at_once(scenarios.into(), |scenario| scenario.play());
    }

    fn play_on(&self, envoy: &EnvoyBinary) -> anyhow::Result<()> {
        let mut stage = Stage::start(envoy, self.setting.clone(), |config| config)?;
        let healthy = warmed_up(&mut stage)?;
        let (before, taken) = (Books::read(&stage.envoy)?, stage.backend.spans());

        let during = stage.under_load(fault_time(), |stage, end| (self.happens)(stage, end))?;
        stage.backend.bring_up()?;
        stage.backend.answer(Behaviour::Ok);
        let books = stage.settled(&before, &[&during.outcome])?;

        let row = Row {
            fault: self.fault,
            time: during.time,
            requests: during.outcome.sent,
            errors: during.outcome.errors,
            books,
            lost: 0,
            p99: Some((healthy.outcome.quantile(0.99), during.outcome.quantile(0.99))),
            memory: Some((healthy.memory, during.memory)),
        };
        row.tell(envoy)?;
        ensure!(row.errors == 0, "{} callers saw it: {:?}", row.errors, during.outcome.first_errors);
        self.lost.check(&row.books)?;
        let taken = stage.backend.spans() - taken;
        let refused = row.books.dropped.get("rejected").copied().unwrap_or(0);
        let agreed = match self.lost {
            // The scripted backend counts nothing that it does not answer properly.
            Lost::Unread => true,
            _ if self.exact => taken == row.books.exported + refused,
            _ => taken >= row.books.exported,
        };
        ensure!(agreed, "the backend took {taken} spans: {:?}", row.books);
        ensure!(during.memory < healthy.memory + MEMORY, "{} bytes became {}", healthy.memory, during.memory);
        works_again(&mut stage)?;
        stage.stop()
    }
}

impl Lost {
    pub(crate) fn check(self, books: &Books) -> anyhow::Result<()> {
        let (least, most, reasons) = match self {
            Self::Nothing | Self::Unread => (0, 0, &[][..]),
            Self::Some(reasons) => (1, books.started, reasons),
            Self::Perhaps(reasons) => (0, books.started, reasons),
        };
        let unread = matches!(self, Self::Unread);
        ensure!((books.malformed_answers > 0) == unread, "answers that could not be read: {books:?}");
        let dropped = books.all_dropped();
        ensure!((least..=most).contains(&dropped), "{dropped} spans were dropped, not {self:?}: {books:?}");
        let unexpected: Vec<_> = books.dropped.keys().filter(|reason| !reasons.contains(&reason.as_str())).collect();
        ensure!(unexpected.is_empty(), "dropped for {unexpected:?}, not {self:?}: {books:?}");
        Ok(())
    }
}

/// Load with a healthy backend: what all else is compared with. Nothing is lost, and the books are closed.
pub(crate) fn warmed_up(stage: &mut Stage) -> anyhow::Result<Measured> {
    let time = Duration::from_millis(if long() { 10_000 } else { 1_000 });
    let before = Books::read(&stage.envoy)?;
    // The first requests find a cold machine.
    let cold = stage.under_load(Duration::from_millis(300), |stage, end| stage.watch_books(end))?;
    let healthy = stage.under_load(time, |stage, end| stage.watch_books(end))?;
    for measured in [&cold, &healthy] {
        let Measured { outcome, .. } = measured;
        ensure!(outcome.errors == 0, "with a healthy backend: {:?}", outcome.first_errors);
    }
    let books = stage.settled(&before, &[&cold.outcome, &healthy.outcome])?;
    Lost::Nothing.check(&books).context("with a healthy backend")?;
    Ok(healthy)
}

/// Makes sure that after the fault all spans arrive again.
pub(crate) fn works_again(stage: &mut Stage) -> anyhow::Result<()> {
    let before = Books::read(&stage.envoy)?;
    let again = stage.under_load(Duration::from_millis(200), |stage, end| stage.watch_books(end))?;
    ensure!(again.outcome.errors == 0, "after the fault: {:?}", again.outcome.first_errors);
    Lost::Nothing.check(&stage.settled(&before, &[&again.outcome])?).context("after the fault")
}
