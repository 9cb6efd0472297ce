//! CPU time, of one process and of all that ran on the machine; and which cores a process may use.

use std::time::Duration;

use anyhow::{Context, bail};

/// The CPU-time clock of a process: all its threads, the ended ones too, user and system, in nanoseconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ProcessClock(libc::clockid_t);

impl ProcessClock {
    pub(crate) fn of(process: u32) -> anyhow::Result<Self> {
        let mut clock = 0;
        // SAFETY: `clock` is a valid place to write to.
        #[allow(unsafe_code)]
        let status = unsafe { libc::clock_getcpuclockid(libc::pid_t::try_from(process)?, &raw mut clock) };
        if status != 0 {
            bail!("process {process} has no CPU clock (error {status})");
        }
        Ok(Self(clock))
    }

    /// CPU time since the process started.
    pub(crate) fn read(self) -> anyhow::Result<Duration> {
        let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: `time` is a valid place to write to.
        #[allow(unsafe_code)]
        let status = unsafe { libc::clock_gettime(self.0, &raw mut time) };
        if status != 0 {
            return Err(std::io::Error::last_os_error()).context("a measured process is gone");
        }
        Ok(Duration::new(u64::try_from(time.tv_sec)?, u32::try_from(time.tv_nsec)?))
    }
}

/// The cores that this process may use.
fn cores() -> anyhow::Result<Vec<usize>> {
    // SAFETY: the set is plain bits, for which zero is a value, and the size is its own.
    #[allow(unsafe_code)]
    let (status, set) = unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        (libc::sched_getaffinity(0, size_of::<libc::cpu_set_t>(), &raw mut set), set)
    };
    if status != 0 {
        return Err(std::io::Error::last_os_error()).context("cannot ask for the cores");
    }
    // SAFETY: every index is within the set.
    #[allow(unsafe_code)]
    let allowed = |core: &usize| unsafe { libc::CPU_ISSET(*core, &set) };
    Ok((0..size_of::<libc::cpu_set_t>() * 8).filter(allowed).collect())
}

/// A set of cores as the kernel takes it.
fn set_of(cores: &[usize]) -> libc::cpu_set_t {
    // SAFETY: the set is plain bits, for which zero is a value; the cores are those of `cores()`.
    #[allow(unsafe_code)]
    unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        for core in cores {
            libc::CPU_SET(*core, &mut set);
        }
        set
    }
}

/// Has the calling thread run on these cores only.
pub(crate) fn pin_this_thread(cores: &[usize]) -> anyhow::Result<()> {
    let set = set_of(cores);
    // SAFETY: the set and its size belong together.
    #[allow(unsafe_code)]
    let status = unsafe { libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &raw const set) };
    if status != 0 {
        return Err(std::io::Error::last_os_error()).context("cannot choose a thread's cores");
    }
    Ok(())
}

/// From now on the calling thread runs only while nothing else wants its core. Not an error where the kernel has no such
/// class.
pub(crate) fn give_way() {
    let parameters = libc::sched_param { sched_priority: 0 };
    // SAFETY: the parameters outlive the call, which changes nothing but this thread's class.
    #[allow(unsafe_code)]
    let _ = unsafe { libc::sched_setscheduler(0, libc::SCHED_IDLE, &raw const parameters) };
}

/// Has all threads of a process, and those that they start later, run on these cores only.
fn pin(process: u32, cores: &[usize]) -> anyhow::Result<()> {
    let set = set_of(cores);
    for thread in std::fs::read_dir(format!("/proc/{process}/task"))? {
        let Some(thread) = thread?.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        // SAFETY: the set and its size belong together.
        #[allow(unsafe_code)]
        let status = unsafe { libc::sched_setaffinity(thread, size_of::<libc::cpu_set_t>(), &raw const set) };
        if status != 0 {
            let error = std::io::Error::last_os_error();
            // A thread may end between being listed and being pinned.
            if error.raw_os_error() != Some(libc::ESRCH) {
                return Err(error).context("cannot choose a process's cores (try --no-pin)");
            }
        }
    }
    Ok(())
}

/// Which cores run what: the measured Envoys the first one, and all else the others. Where the kernel may choose, an Envoy
/// shares its core with the load generator now and then, and pays for it differently in every run.
#[derive(Clone, Debug)]
pub(crate) struct Division {
    measured: usize,
    others: Vec<usize>,
}

impl Division {
    /// `None` where there is one core only. To be asked before any process is pinned.
    pub(crate) fn of_machine() -> anyhow::Result<Option<Self>> {
        let cores = cores()?;
        let [first, others @ ..] = cores.as_slice() else { return Ok(None) };
        if others.is_empty() {
            eprintln!("there is one core for everything: expect wide intervals");
            return Ok(None);
        }
        Ok(Some(Self { measured: *first, others: others.to_vec() }))
    }

    /// The cores of what is measured, and those of the rest.
    pub(crate) fn each(&self) -> [Vec<usize>; 2] {
        [vec![self.measured], self.others.clone()]
    }

    /// Gives a process that is measured its core.
    pub(crate) fn pin_measured(&self, process: u32) -> anyhow::Result<()> {
        pin(process, &[self.measured])
    }

    /// Lets a process run anywhere.
    pub(crate) fn pin_nowhere(&self, process: u32) -> anyhow::Result<()> {
        let mut all = self.others.clone();
        all.push(self.measured);
        pin(process, &all)
    }

    /// Gives another one the others. What it starts later has them too, until it is pinned itself.
    pub(crate) fn pin_other(&self, process: u32) -> anyhow::Result<()> {
        pin(process, &self.others)
    }
}

/// What the whole machine did since it started (`/proc/stat`), in the kernel's ticks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MachineTime {
    /// In any program, the kernel included.
    pub(crate) busy: u64,
    /// Taken by the hypervisor for others.
    pub(crate) stolen: u64,
    /// All of it, the idle time too.
    pub(crate) total: u64,
    /// Cores that the times are the sum of, whether or not this process may use them.
    pub(crate) cores: usize,
}

impl MachineTime {
    pub(crate) fn read() -> anyhow::Result<Self> {
        let text = std::fs::read_to_string("/proc/stat").context("/proc/stat")?;
        Self::parse(&text).context("/proc/stat does not read as expected")
    }

    // user nice system idle iowait irq softirq steal; guest time is contained in user.
    fn parse(text: &str) -> Option<Self> {
        let line = text.lines().next()?.strip_prefix("cpu ")?;
        let fields = line.split_whitespace().map(|f| f.parse().ok()).take(8).collect::<Option<Vec<u64>>>()?;
        let [user, nice, system, idle, wait, interrupt, soft, stolen] = fields[..] else {
            return None;
        };
        let busy = user + nice + system + interrupt + soft;
        let cores = text.lines().skip(1).take_while(|line| line.starts_with("cpu")).count();
        Some(Self { busy, stolen, total: busy + idle + wait + stolen, cores })
    }

    /// The shares of the machine, 0 to 1, since `earlier`: busy, and stolen.
    #[allow(clippy::cast_precision_loss, reason = "shares")]
    pub(crate) fn shares_since(self, earlier: Self) -> (f64, f64) {
        let total = (self.total - earlier.total).max(1) as f64;
        ((self.busy - earlier.busy) as f64 / total, (self.stolen - earlier.stolen) as f64 / total)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_clock_advances_with_work() {
        let clock = ProcessClock::of(std::process::id()).unwrap();
        let before = clock.read().unwrap();
        let end = std::time::Instant::now() + Duration::from_secs(10);
        while clock.read().unwrap() == before {
            assert!(std::time::Instant::now() < end, "ten seconds of work took no CPU time");
        }
    }

    #[test]
    fn this_process_may_be_pinned_to_the_cores_it_has() {
        let cores = cores().unwrap();
        assert!(!cores.is_empty());
        pin(std::process::id(), &cores).unwrap();
        assert_eq!(super::cores().unwrap(), cores);
    }

    #[test]
    fn machine_time_is_read_in_the_kernels_order() {
        let time = MachineTime::parse("cpu  1 2 4 100 50 8 16 32 0 0\ncpu0 1\ncpu1 2\nintr 7\n").unwrap();
        assert_eq!((time.busy, time.stolen, time.total, time.cores), (31, 32, 213, 2));
        assert!(MachineTime::parse("cpu 1 2").is_none());
        assert!(MachineTime::parse("").is_none());
    }
}
