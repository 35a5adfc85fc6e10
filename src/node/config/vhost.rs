//! `port.vhost`: a virtual machine's interface over vhost-user.

use std::{
    fs,
    io::ErrorKind,
    os::unix::{ffi::OsStrExt, fs::FileTypeExt, net::UnixStream},
    path::{Path, PathBuf},
};

use serde::Deserialize;

/// Bytes of a Unix socket's path, without the zero behind it (`sockaddr_un`, unix(7)).
const LONGEST_PATH: usize = 107;
/// Queues that DPDK's vhost serves of a device.
pub(super) const MOST_QUEUES: u16 = 128;

/// A vhost-user socket, through which a virtual machine's interface is reached.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Vhost {
    /// The socket. Relative to the host file's folder.
    pub socket: PathBuf,
    /// Who makes the socket.
    #[serde(default)]
    pub mode: VhostMode,
}

/// Which side of a vhost-user socket the node is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum VhostMode {
    /// The virtual machine makes the socket; the node connects, and again whenever the other side has been away.
    #[default]
    Client,
    /// The node makes the socket, and virtual machines connect.
    Server,
}

impl Vhost {
    /// With its path relative to `folder`.
    #[must_use]
    pub(super) fn relative_to(self, folder: &Path) -> Self {
        Self { socket: folder.join(self.socket), ..self }
    }

    /// What is wrong with the key `socket`, if anything.
    pub(super) fn problem(&self) -> Option<String> {
        let bytes = self.socket.as_os_str().as_bytes();
        if self.socket.file_name().is_none() {
            return Some("the path of a socket, such as /run/vm/vm0.sock".into());
        }
        if bytes.len() > LONGEST_PATH {
            return Some(format!("{} bytes; a socket's path has at most {LONGEST_PATH}", bytes.len()));
        }
        // What ends a value in a list of device options, which this becomes.
        let special = [',', '[', ']', '"'];
        let text = str::from_utf8(bytes).ok().filter(|text| !text.contains(special));
        text.is_none().then(|| "a path in UTF-8, without commas, brackets and quotes".into())
    }

    /// The device that DPDK opens for it, as port `number` of the node. It lets the machine leave checksums and the cutting of
    /// segments to it, which [`crate::node::offload`] does.
    pub(super) fn device(&self, number: usize, queues: u16) -> String {
        let client = u8::from(self.mode == VhostMode::Client);
        format!(
            "net_vhost_port{number},iface={},queues={queues},client={client},tso=1",
            self.socket.display()
        )
    }

    /// Makes room for the socket: removes one that a daemon left behind which did not end by itself.
    ///
    /// # Errors
    ///
    /// What keeps the socket from being made or found, and what to do about it.
    pub fn prepare(&self) -> Result<(), String> {
        let socket = self.socket.display();
        let folder = self.socket.parent().filter(|folder| !folder.as_os_str().is_empty());
        let folder = folder.unwrap_or(Path::new("."));
        if !folder.is_dir() {
            return Err(format!("vhost.socket: no folder for {socket}: install -d {}", folder.display()));
        }
        let found = match fs::symlink_metadata(&self.socket) {
            Ok(found) => found,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(format!("vhost.socket: {socket}: {error}")),
        };
        if !found.file_type().is_socket() {
            return Err(format!(
                "vhost.socket: {socket} is there and is no socket; remove it, or name another"
            ));
        }
        if self.mode == VhostMode::Client {
            return Ok(());
        }
        match UnixStream::connect(&self.socket) {
            Ok(_) => Err(format!(
                "vhost.socket: a program listens on {socket} already; end it, name another, or make the mode `client`"
            )),
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => fs::remove_file(&self.socket)
                .map_err(|error| format!("vhost.socket: {socket}, which nobody listens on, stays: {error}")),
            Err(error) => Err(format!("vhost.socket: {socket}: {error}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;

    fn server(socket: PathBuf) -> Vhost {
        Vhost { socket, mode: VhostMode::Server }
    }

    #[test]
    fn a_socket_left_behind_makes_room_and_no_other() {
        let folder = tempfile::tempdir().unwrap();
        let vhost = server(folder.path().join("vm0.sock"));
        assert_eq!(vhost.prepare(), Ok(()));
        let listener = UnixListener::bind(&vhost.socket).unwrap();
        assert!(vhost.prepare().unwrap_err().contains("a program listens"));
        assert_eq!(Vhost { mode: VhostMode::Client, ..vhost.clone() }.prepare(), Ok(()));
        drop(listener);
        assert_eq!(vhost.prepare(), Ok(()));
        assert!(!vhost.socket.exists());
        fs::write(&vhost.socket, "").unwrap();
        assert!(vhost.prepare().unwrap_err().contains("is no socket"));
        assert!(server(folder.path().join("none/vm0.sock")).prepare().unwrap_err().contains("install -d"));
    }
}
