//! A stream of echo requests, and for how long it was not answered.

use std::{
    fs::{self, File},
    path::PathBuf,
    process::Child,
    time::Duration,
};

use super::{netns::Netns, run, tool, wait_for};

/// Echo requests in the background.
pub struct Stream {
    ping: Child,
    log: PathBuf,
    _folder: tempfile::TempDir,
}

/// What became of a stream.
#[derive(Debug)]
pub struct Report {
    pub sent: u32,
    pub received: u32,
    /// The longest time between two answers.
    pub longest: Duration,
}

impl Stream {
    /// Starts it, one request each so many milliseconds, and waits for the first answer.
    #[track_caller]
    pub fn start(from: &Netns, millis: u32, to: impl Into<std::net::IpAddr>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("ping");
        let interval = format!("{}", f64::from(millis) / 1000.0);
        let mut command = from.command(tool("ping", "iputils-ping"));
        command.args(["-n", "-D", "-i", &interval, &to.into().to_string()]);
        let ping = command.stdout(File::create(&log).unwrap()).spawn().unwrap();
        let stream = Self { ping, log, _folder: folder };
        stream.answered();
        stream
    }

    fn lines(&self) -> Vec<(f64, u32)> {
        let text = fs::read_to_string(&self.log).unwrap();
        let read = |line: &str| {
            let time = line.strip_prefix('[')?.split(']').next()?.parse().ok()?;
            let number = line.split("icmp_seq=").nth(1)?.split(' ').next()?.parse().ok()?;
            line.contains(" bytes from ").then_some((time, number))
        };
        text.lines().filter_map(read).collect()
    }

    /// Waits until some more requests are answered.
    #[track_caller]
    pub fn answered(&self) {
        let before = self.lines().len();
        wait_for("answers to pings", || self.lines().len() >= before + 20);
    }

    /// Ends it.
    #[track_caller]
    pub fn stop(mut self) -> Report {
        run(std::process::Command::new("kill").args(["-INT", &self.ping.id().to_string()])).ok();
        self.ping.wait().unwrap();
        let (lines, text) = (self.lines(), fs::read_to_string(&self.log).unwrap());
        let summary = text.lines().find(|line| line.contains("packets transmitted")).expect("a summary");
        let sent = summary.split(' ').next().unwrap().parse().unwrap();
        let longest = lines.windows(2).map(|pair| pair[1].0 - pair[0].0).fold(0.0, f64::max);
        Report { sent, received: lines.len() as u32, longest: Duration::from_secs_f64(longest) }
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        let _ = self.ping.kill();
        let _ = self.ping.wait();
    }
}
