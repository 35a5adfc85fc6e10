//! The test's own threads in namespaces.

use std::{
    fs::File,
    os::fd::AsFd,
    thread::{self, JoinHandle},
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
