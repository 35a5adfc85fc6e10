//! iperf3 in instances.

use std::{
    net::IpAddr,
    process::{Child, Stdio},
    thread,
    time::Duration,
};

use super::{netns::Netns, tool, wait_for};

/// The port that servers listen on.
pub const PORT: u16 = 5201;

/// An iperf3 server for one client, ended when dropped.
pub struct Server(Child);

impl Server {
    #[track_caller]
    pub fn start(guest: &Netns) -> Self {
        let mut command = guest.command(tool("iperf3", "iperf3"));
        let server = command.args(["--server", "--one-off"]).stdout(Stdio::null()).spawn().unwrap();
        let server = Self(server);
        wait_for("the server", || !guest.run("ss", "iproute2", "-Hltn sport = :5201").ok().is_empty());
        server
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A client that sends 20 Mbit/s over TCP until it is dropped, and its server.
pub struct Transfer<'n> {
    client: Child,
    _server: Server,
    to: &'n Netns,
}

/// How long one looks.
const SPAN: Duration = Duration::from_secs(1);

impl<'n> Transfer<'n> {
    /// Starts it, and waits until it goes.
    #[track_caller]
    pub fn start(from: &Netns, to: &'n Netns, address: impl Into<IpAddr>) -> Self {
        let server = Server::start(to);
        let mut command = from.command(tool("iperf3", "iperf3"));
        command.args(["--bitrate", "20M", "--time", "600", "--client", &address.into().to_string()]);
        let client = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let transfer = Self { client, _server: server, to };
        transfer.resumes();
        transfer
    }

    /// How many TCP segments the server's kernel has got.
    fn segments(&self) -> u64 {
        let shown = self.to.run("nstat", "iproute2", "-asz TcpInSegs").ok();
        let line = shown.lines().find(|line| line.starts_with("TcpInSegs")).expect("a counter");
        line.split_whitespace().nth(1).and_then(|number| number.parse().ok()).expect("a number")
    }

    /// How many segments arrive in a second.
    pub fn pace(&self) -> u64 {
        let before = self.segments();
        thread::sleep(SPAN);
        self.segments() - before
    }

    /// Waits until it goes, again.
    #[track_caller]
    pub fn resumes(&self) {
        let before = self.segments();
        wait_for("segments", || self.segments() > before + 100);
    }
}

impl Drop for Transfer<'_> {
    fn drop(&mut self) {
        let _ = self.client.kill();
        let _ = self.client.wait();
    }
}
