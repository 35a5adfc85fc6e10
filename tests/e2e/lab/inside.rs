//! The test's own threads in namespaces: a server that says who it sees, and flows that stay open.

use std::{
    fs::File,
    io::{BufRead, BufReader, ErrorKind, Write},
    net::{IpAddr, SocketAddr, TcpListener, TcpStream},
    os::fd::AsFd,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::netns::Netns;

/// Starts a thread in a namespace.
pub fn spawn<T: Send + 'static>(
    namespace: &Netns,
    work: impl FnOnce() -> T + Send + 'static,
) -> JoinHandle<T> {
    let file = File::open(format!("/run/netns/{}", namespace.name)).unwrap();
    thread::spawn(move || {
        move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
        work()
    })
}

/// Does something in a namespace.
pub fn within<T: Send + 'static>(namespace: &Netns, work: impl FnOnce() -> T + Send + 'static) -> T {
    spawn(namespace, work).join().unwrap()
}

/// A server that tells everybody which address it sees: in an HTTP response to `GET`, and else in a line for each line. It
/// ends when dropped.
pub struct Server {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// The port that servers listen on.
pub const PORT: u16 = 80;

impl Server {
    /// Listens on all addresses of a namespace.
    pub fn start(namespace: &Netns) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let listener = within(namespace, || TcpListener::bind(("::", PORT)).unwrap());
        listener.set_nonblocking(true).unwrap();
        let thread = thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                match listener.accept() {
                    Ok((client, peer)) => drop(thread::spawn(move || serve(client, peer))),
                    Err(error) if error.kind() == ErrorKind::WouldBlock => {
                        thread::sleep(Duration::from_millis(2));
                    }
                    Err(error) => panic!("{error}"),
                }
            }
        });
        Self { stop, thread: Some(thread) }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

fn serve(client: TcpStream, peer: SocketAddr) {
    client.set_nonblocking(false).unwrap();
    let mut answers = client.try_clone().unwrap();
    let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
    for line in BufReader::new(client).lines() {
        let Ok(line) = line else { return };
        let answer = if line.starts_with("GET ") {
            format!("HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n\r\n{}", peer.ip())
        } else {
            format!("{peer}\n")
        };
        if answers.write_all(answer.as_bytes()).is_err() || line.starts_with("GET ") {
            // What is left of the request is read, so that the response is not cut short by a reset.
            let _ = answers.shutdown(std::net::Shutdown::Write);
        }
    }
}

/// A TCP connection to a [`Server`], which stays open.
pub struct Flow {
    stream: BufReader<TcpStream>,
    /// The address and port that the server sees.
    pub seen: SocketAddr,
}

/// How long one waits for an answer: three of TCP's retransmissions.
const PATIENCE: Duration = Duration::from_secs(8);

impl Flow {
    /// Opens one from a namespace.
    pub fn open(namespace: &Netns, to: impl Into<IpAddr>) -> std::io::Result<Self> {
        let to = SocketAddr::new(to.into(), PORT);
        let stream = within(namespace, move || TcpStream::connect_timeout(&to, PATIENCE))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)?;
        let mut flow = Self { stream: BufReader::new(stream), seen: to };
        flow.seen = flow.ask()?;
        Ok(flow)
    }

    /// Sends a line and waits for the answer: which address the server sees.
    pub fn ask(&mut self) -> std::io::Result<SocketAddr> {
        self.stream.get_mut().write_all(b"who am I?\n")?;
        let mut line = String::new();
        self.stream.read_line(&mut line)?;
        line.trim().parse().map_err(|_| ErrorKind::UnexpectedEof.into())
    }

    /// Whether it still works, by the same address.
    pub fn lives(&mut self) -> bool {
        self.ask().is_ok_and(|seen| seen == self.seen)
    }
}
