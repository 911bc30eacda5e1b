//! More questions than a server can answer, asked at a steady rate whatever becomes of them, and a server that has less
//! than a CPU to itself.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use callgate::proto::v1::authorization_client::AuthorizationClient;
use tokio::task::JoinSet;
use tonic::Code;
use tonic::transport::{Channel, Endpoint};

use super::attack::question;

/// How the CPU time of a process is held down, until this is dropped.
pub enum HeldDown {
    /// By a control group.
    Group(PathBuf),
    /// By stopping it most of the time, where control groups are not allowed.
    Stopped {
        /// The shell that does it.
        shell: Child,
        /// The process.
        pid: u32,
    },
}

impl HeldDown {
    /// Holds a process to so many percent of a CPU.
    pub fn to(pid: u32, percent: u64) -> Self {
        Self::by_group(pid, percent).unwrap_or_else(|| Self::by_signals(pid, percent))
    }

    /// By a control group of its own (version 1), in the usual periods of 100 ms.
    fn by_group(pid: u32, percent: u64) -> Option<Self> {
        let group = PathBuf::from(format!("/sys/fs/cgroup/cpu/callgate-{pid}"));
        std::fs::create_dir(&group).ok()?;
        let held = Self::Group(group.clone());
        for (file, value) in [
            ("cpu.cfs_period_us", 100_000),
            ("cpu.cfs_quota_us", percent * 1_000),
            ("cgroup.procs", pid.into()),
        ] {
            std::fs::write(group.join(file), value.to_string()).ok()?;
        }
        Some(held)
    }

    fn by_signals(pid: u32, percent: u64) -> Self {
        let (runs, rests) = (percent, 100 - percent);
        let script = format!(
            "while kill -CONT {pid}; do sleep 0.0{runs:02}; kill -STOP {pid}; sleep 0.0{rests:02}; done"
        );
        let mut shell = Command::new("sh");
        shell.args(["-c", &script]).stderr(Stdio::null());
        let shell = shell.spawn().expect("a shell");
        Self::Stopped { shell, pid }
    }
}

impl Drop for HeldDown {
    fn drop(&mut self) {
        match self {
            Self::Group(group) => {
                // A group goes once it is empty.
                let everything = group.with_file_name("cgroup.procs");
                let members = std::fs::read_to_string(group.join("cgroup.procs"));
                for pid in members.unwrap_or_default().lines() {
                    let _ = std::fs::write(&everything, pid);
                }
                let _ = std::fs::remove_dir(group);
            }
            Self::Stopped { shell, pid } => {
                let _ = shell.kill();
                let _ = shell.wait();
                let pid = pid.to_string();
                let _ = Command::new("kill").args(["-CONT", &pid]).status();
            }
        }
    }
}

/// What became of the questions.
#[derive(Debug, Default)]
pub struct Outcome {
    /// How many were asked.
    pub asked: usize,
    /// How long those took that were answered within the deadline, in order.
    pub in_time: Vec<Duration>,
    /// Refused with RESOURCE_EXHAUSTED.
    pub shed: usize,
    /// Not answered within the deadline.
    pub late: usize,
    /// Failed in any other way.
    pub failed: Vec<Code>,
}

impl Outcome {
    /// Answers in time, in a second.
    pub fn rate(&self, took: Duration) -> f64 {
        self.in_time.len() as f64 / took.as_secs_f64()
    }

    /// How long so many percent took at most of those that were not refused; nothing if that is longer than they may.
    pub fn percentile(&self, percent: usize) -> Option<Duration> {
        let accepted = self.in_time.len() + self.late;
        let place = accepted.saturating_sub(1) * percent / 100;
        self.in_time.get(place).copied()
    }

    fn note(&mut self, took: Duration, answer: Option<Result<(), Code>>) {
        self.asked += 1;
        match answer {
            Some(Ok(())) => self.in_time.push(took),
            Some(Err(Code::ResourceExhausted)) => self.shed += 1,
            None | Some(Err(Code::DeadlineExceeded | Code::Cancelled)) => self.late += 1,
            Some(Err(code)) => self.failed.push(code),
        }
    }

    fn sorted(mut self) -> Self {
        self.in_time.sort_unstable();
        self
    }
}

/// Connections of a gateway.
pub async fn channels(address: &str, count: usize) -> Vec<Channel> {
    let mut channels = Vec::new();
    for _ in 0..count {
        let endpoint = Endpoint::from_shared(format!("http://{address}")).expect("an address");
        channels.push(endpoint.connect().await.expect("a connection"));
    }
    channels
}

/// Asks once, as a gateway does that waits for so long: it tells the server, and gives up by itself.
async fn ask(channel: Channel, deadline: Duration) -> (Duration, Option<Result<(), Code>>) {
    let mut request = question();
    request.set_timeout(deadline);
    let begun = Instant::now();
    let mut client = AuthorizationClient::new(channel);
    let answer = tokio::time::timeout(deadline, client.authorize(request)).await;
    let answer = answer.ok().map(|it| it.map(drop).map_err(|it| it.code()));
    (begun.elapsed(), answer)
}

/// Asks so many at once, one after the other, for so long: what the server can answer.
pub async fn saturate(
    channels: &[Channel],
    at_once: usize,
    took: Duration,
    deadline: Duration,
) -> Outcome {
    let end = Instant::now() + took;
    let mut askers = JoinSet::new();
    for number in 0..at_once {
        let channel = channels[number % channels.len()].clone();
        askers.spawn(async move {
            let mut answers = Vec::new();
            while Instant::now() < end {
                answers.push(ask(channel.clone(), deadline).await);
            }
            answers
        });
    }
    let mut outcome = Outcome::default();
    while let Some(answers) = askers.join_next().await {
        for (took, answer) in answers.expect("an asker does not panic") {
            outcome.note(took, answer);
        }
    }
    outcome.sorted()
}

/// What became of the questions of a flood.
#[derive(Debug, Default)]
pub struct Flooded {
    /// Of those asked while the server had not adapted to it.
    pub at_first: Outcome,
    /// Of those asked after that.
    pub then: Outcome,
}

impl Flooded {
    fn note(&mut self, (is_first, (took, answer)): FloodAnswer) {
        match is_first {
            true => self.at_first.note(took, answer),
            false => self.then.note(took, answer),
        }
    }
}

/// Whether it was asked at first, how long it took, and what the answer was.
type FloodAnswer = (bool, (Duration, Option<Result<(), Code>>));

/// Asks so often in a second, for so long after a beginning, whether or not what was asked before is answered.
pub async fn flood(
    channels: &[Channel],
    rate: f64,
    (first, took): (Duration, Duration),
    deadline: Duration,
) -> Flooded {
    let begun = Instant::now();
    let mut asked = JoinSet::new();
    let mut flooded = Flooded::default();
    let mut number = 0_usize;
    while begun.elapsed() < first + took {
        let due = (begun.elapsed().as_secs_f64() * rate) as usize;
        let is_first = begun.elapsed() < first;
        while number < due {
            let channel = channels[number % channels.len()].clone();
            asked.spawn(async move { (is_first, ask(channel, deadline).await) });
            number += 1;
        }
        while let Some(answer) = asked.try_join_next() {
            flooded.note(answer.expect("an asker does not panic"));
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    while let Some(answer) = asked.join_next().await {
        flooded.note(answer.expect("an asker does not panic"));
    }
    Flooded {
        at_first: flooded.at_first.sorted(),
        then: flooded.then.sorted(),
    }
}
