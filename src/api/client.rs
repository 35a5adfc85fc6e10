//! Asking a running daemon.

use std::{
    io::{BufRead, BufReader, Write},
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
    let fail = |error: std::io::Error| {
        format!(
            "{}: {error}; is `warren run` running here, and are you root? --socket names another",
            socket.display()
        )
    };
    let mut stream = UnixStream::connect(socket).map_err(fail)?;
    let mut line = serde_json::to_string(request).map_err(|error| error.to_string())?;
    line.push('\n');
    stream.write_all(line.as_bytes()).map_err(fail)?;
    let mut reply = String::new();
    BufReader::new(stream).read_line(&mut reply).map_err(fail)?;
    serde_json::from_str(&reply)
        .map_err(|error| format!("{}: no reply that makes sense: {error}", socket.display()))
}
