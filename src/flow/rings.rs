//! Circular doubly linked lists of numbers, in one array that is allocated once.

use crate::ffi::HugeSlice;

#[derive(Clone, Copy)]
struct Link {
    next: u32,
    previous: u32,
}

/// Nodes 0 to `len - 1`, each in exactly one ring: at first alone in its own.
pub(super) struct Rings(HugeSlice<Link>);

impl Rings {
    /// What a node takes, in bytes.
    pub(super) const BYTES: usize = size_of::<Link>();

    pub(super) fn new(len: u32) -> Self {
        let mut links = HugeSlice::new(len as usize, Link { next: 0, previous: 0 });
        for (node, link) in (0..).zip(links.iter_mut()) {
            *link = Link { next: node, previous: node };
        }
        Self(links)
    }

    pub(super) fn bytes(&self) -> usize {
        self.0.bytes()
    }

    /// The node behind a node: itself if it is alone, or no node.
    #[inline]
    pub(super) fn next(&self, node: u32) -> u32 {
        self.0.get(node as usize).map_or(node, |link| link.next)
    }

    /// Takes a node out of its ring, and returns the one that was behind it: itself if it was alone.
    #[inline]
    pub(super) fn leave(&mut self, node: u32) -> u32 {
        let Some(link) = self.0.get_mut(node as usize) else { return node };
        let Link { next, previous } = *link;
        *link = Link { next: node, previous: node };
        self.join(previous, next);
        next
    }

    /// Puts a node, which has to be alone, in front of another in that one's ring: as its last, where the other is what
    /// the ring is known by.
    #[inline]
    pub(super) fn enter(&mut self, node: u32, before: u32) {
        let previous = self.0.get(before as usize).map_or(before, |link| link.previous);
        self.join(previous, node);
        self.join(node, before);
    }

    #[inline]
    fn join(&mut self, previous: u32, next: u32) {
        if let Some(link) = self.0.get_mut(previous as usize) {
            link.next = next;
        }
        if let Some(link) = self.0.get_mut(next as usize) {
            link.previous = previous;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ring(rings: &Rings, from: u32) -> Vec<u32> {
        let mut nodes = vec![from];
        while rings.next(nodes[nodes.len() - 1]) != from {
            nodes.push(rings.next(nodes[nodes.len() - 1]));
        }
        nodes
    }

    #[test]
    fn a_ring_keeps_the_order_in_which_nodes_entered() {
        let mut rings = Rings::new(6);
        for node in 1..5 {
            rings.enter(node, 0);
        }
        assert_eq!(ring(&rings, 0), [0, 1, 2, 3, 4]);
        assert_eq!((rings.leave(2), rings.leave(4), rings.leave(0)), (3, 0, 1));
        assert_eq!(ring(&rings, 1), [1, 3]);
        assert_eq!((ring(&rings, 0), ring(&rings, 5)), (vec![0], vec![5]));
        assert_eq!((rings.leave(5), rings.leave(6), rings.next(7)), (5, 6, 7), "alone, and no nodes");
    }
}
