//! A child process that never outlives its parent.

use std::fs::File;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::{Mutex, OnceLock, PoisonError, mpsc};
use std::time::Duration;

use anyhow::Context;

use crate::wait;

/// Processes that run now, for [`kill_all`].
static RUNNING: Mutex<Vec<u32>> = Mutex::new(Vec::new());

/// Kills every program that this process started: for a signal handler's thread, before it exits.
pub fn kill_all() {
    for id in RUNNING.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
        signal_group(id, libc::SIGKILL);
    }
}

pub(crate) struct Process {
    child: Child,
}

impl Process {
    /// Starts a program in a process group of its own, with both outputs in `log`.
    pub(crate) fn start(program: &Path, arguments: &[String], log: &Path) -> anyhow::Result<Self> {
        let output = File::create(log)?;
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
        Self::of(command)
    }

    /// Starts a program that is talked to, in a process group of its own. Its errors go where this process's go.
    pub(crate) fn start_talking(mut command: Command) -> anyhow::Result<(Self, ChildStdin, ChildStdout)> {
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = Self::of(command)?;
        let input = process.child.stdin.take().context("no standard input")?;
        let output = process.child.stdout.take().context("no standard output")?;
        Ok((process, input, output))
    }

    fn of(mut command: Command) -> anyhow::Result<Self> {
        let program = command.get_program().to_owned();
        command.process_group(0);
        // SAFETY: between fork and exec only prctl is called, which is a plain system call.
        #[allow(unsafe_code)]
        unsafe {
            command.pre_exec(|| {
                libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
                Ok(())
            });
        }
        let child = spawn(command).with_context(|| format!("cannot run {}", Path::new(&program).display()))?;
        RUNNING.lock().unwrap_or_else(PoisonError::into_inner).push(child.id());
        Ok(Self { child })
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Sends SIGTERM and waits; kills at the deadline.
    pub(crate) fn terminate(&mut self, deadline: Duration) -> anyhow::Result<ExitStatus> {
        if self.is_running() {
            signal_group(self.id(), libc::SIGTERM);
        }
        let ended = wait::until(deadline, "the process to end", || self.child.try_wait().ok().flatten());
        if ended.is_err() {
            self.kill();
        }
        ended
    }

    pub(crate) fn cpu_time(&self) -> anyhow::Result<Duration> {
        let path = format!("/proc/{}/stat", self.id());
        let text = std::fs::read_to_string(&path).with_context(|| path.clone())?;
        // Behind the last ')': the name in front of it may contain anything. utime and stime are fields 14, 15.
        let fields: Vec<&str> = text.rsplit_once(')').map_or("", |(_, rest)| rest).split_whitespace().collect();
        let ticks = |index: usize| fields.get(index).and_then(|field| field.parse::<u64>().ok()).context(path.clone());
        // SAFETY: sysconf has no preconditions.
        #[allow(unsafe_code)]
        let per_second = u64::try_from(unsafe { libc::sysconf(libc::_SC_CLK_TCK) })?.max(1);
        Ok(Duration::from_micros((ticks(11)? + ticks(12)?) * 1_000_000 / per_second))
    }

    pub(crate) fn resident_memory(&self) -> anyhow::Result<u64> {
        let path = format!("/proc/{}/status", self.id());
        let text = std::fs::read_to_string(&path).with_context(|| path.clone())?;
        let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
        let kibibytes: u64 = line.trim().trim_end_matches("kB").trim().parse()?;
        Ok(kibibytes * 1024)
    }

    /// Kills it (SIGKILL) and waits until it is gone.
    pub(crate) fn kill(&mut self) {
        if self.is_running() {
            signal_group(self.id(), libc::SIGKILL);
        }
        let _ = self.child.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
        let id = self.id();
        RUNNING.lock().unwrap_or_else(PoisonError::into_inner).retain(|running| *running != id);
    }
}

fn signal_group(id: u32, signal: libc::c_int) {
    if let Ok(id) = libc::pid_t::try_from(id) {
        // SAFETY: kill has no preconditions; the group is that of a child not yet waited for.
        #[allow(unsafe_code)]
        unsafe {
            libc::kill(-id, signal);
        }
    }
}

type Job = (Command, mpsc::Sender<std::io::Result<Child>>);

/// Spawns from one thread that lives as long as this process: the kernel sends the parent-death signal when the
/// spawning *thread* ends, and a test's thread ends with its test.
fn spawn(command: Command) -> anyhow::Result<Child> {
    static SPAWNER: OnceLock<mpsc::Sender<Job>> = OnceLock::new();
    let spawner = SPAWNER.get_or_init(|| {
        let (sender, jobs) = mpsc::channel::<Job>();
        std::thread::spawn(move || {
            for (mut command, answer) in jobs {
                let _ = answer.send(command.spawn());
            }
        });
        sender
    });
    let (answer, outcome) = mpsc::channel();
    spawner.send((command, answer)).map_err(|_| anyhow::anyhow!("the spawning thread has ended"))?;
    Ok(outcome.recv()??)
}
