//! Asking a running daemon.

use std::{
    io::{self, BufRead, BufReader, Write},
    os::unix::net::UnixStream,
    path::Path,
};

use super::{Reply, Request};

/// Sends a request to the daemon that listens on `socket` and waits for the reply.
///
/// # Errors
///
/// A sentence: no daemon listens there, or it closed the connection without a reply.
pub fn ask(socket: &Path, request: &Request) -> Result<Reply, String> {
    reply(socket, &mut BufReader::new(send(socket, request)?))
}

/// Sends a request to the daemon that listens on `socket`.
pub(super) fn send(socket: &Path, request: &Request) -> Result<UnixStream, String> {
    let mut line = serde_json::to_string(request).map_err(|error| error.to_string())?;
    line.push('\n');
    let mut stream = UnixStream::connect(socket).map_err(|error| failed(socket, &error))?;
    stream.write_all(line.as_bytes()).map_err(|error| failed(socket, &error))?;
    Ok(stream)
}

/// Waits for its reply.
pub(super) fn reply(socket: &Path, from: &mut impl BufRead) -> Result<Reply, String> {
    let mut reply = String::new();
    from.read_line(&mut reply).map_err(|error| failed(socket, &error))?;
    serde_json::from_str(&reply)
        .map_err(|error| format!("{}: no reply that makes sense: {error}", socket.display()))
}

fn failed(socket: &Path, error: &io::Error) -> String {
    format!(
        "{}: {error}; is `warren run` running here, and are you root? --socket names another",
        socket.display()
    )
}
