//! What zebra sends.

use std::time::{Duration, Instant};

use warren::propagation::{Path, Rib, fpm::Frames, netlink};

/// A connection's octets: whatever they are, what is learned is well-formed, and changes tell all of it.
pub(crate) fn fpm(mut input: &[u8]) {
    let mut frames = Frames::default();
    let mut rib = Rib::new(Duration::from_secs(120));
    rib.connected(Instant::now());
    while frames.read(&mut input).expect("a slice") > 0 {
        while let Ok(Some(frame)) = frames.next_frame() {
            match netlink::updates(frame) {
                Ok(updates) => rib.apply(updates),
                Err(error) => assert!(!error.to_string().is_empty()),
            }
        }
    }
    let mut known: Vec<_> = rib.iter().map(|(prefix, path)| (prefix, path.clone())).collect();
    for (prefix, path) in &known {
        assert_eq!(*prefix, prefix.trunc());
        if let Path::Via(hops) = path {
            assert!(!hops.is_empty() && hops.is_sorted_by(|a, b| a < b), "{hops:?}");
        }
    }
    assert_eq!((known.len(), rib.stale()), (rib.len(), 0));
    let mut told: Vec<_> =
        rib.take_changes().into_iter().filter_map(|change| Some((change.prefix, change.new?))).collect();
    known.sort_by_key(|route| route.0);
    told.sort_by_key(|route| route.0);
    assert_eq!(told, known);
}
