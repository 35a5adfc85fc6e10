//! Which of many ranges of addresses overlap: one sort, one sweep.

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// A range of addresses of one family.
#[derive(Clone, Copy)]
pub(super) struct Span<P> {
    /// The VPC, as a number; ranges of different scopes never meet.
    pub(super) scope: u32,
    ipv6: bool,
    first: u128,
    last: u128,
    /// The resource it belongs to, numbered in the order of the documents.
    pub(super) owner: u32,
    /// Which of the resource's ranges it is.
    pub(super) part: P,
}

impl<P> Span<P> {
    /// The addresses of a block.
    pub(super) fn new(scope: u32, block: IpNet, owner: u32, part: P) -> Self {
        let (ipv6, first, last) = match block {
            IpNet::V4(block) => (false, bits4(block.network()), bits4(block.broadcast())),
            IpNet::V6(block) => (true, block.network().to_bits(), block.broadcast().to_bits()),
        };
        Self { scope, ipv6, first, last, owner, part }
    }

    /// The block it was made of.
    pub(super) fn block(&self) -> IpNet {
        // The first and last address differ in all the bits behind the prefix, and in no others.
        let bits = (self.last - self.first).count_ones() as u8;
        if self.ipv6 {
            IpNet::V6(Ipv6Net::new_assert(self.first.into(), 128 - bits))
        } else {
            IpNet::V4(Ipv4Net::new_assert((self.first as u32).into(), 32 - bits))
        }
    }
}

fn bits4(address: std::net::Ipv4Addr) -> u128 {
    address.to_bits().into()
}

/// Finds every range that overlaps one before it, and reports the two: first the earlier in the documents.
pub(super) fn overlaps<P: Ord + Copy>(spans: &mut [Span<P>], mut report: impl FnMut(&Span<P>, &Span<P>)) {
    spans.sort_unstable_by_key(|span| {
        (span.scope, span.ipv6, span.first, std::cmp::Reverse(span.last), span.owner, span.part)
    });
    let mut around: Option<&Span<P>> = None;
    for span in &*spans {
        match around {
            // Blocks nest or are disjoint, so the one around goes on.
            Some(other)
                if (other.scope, other.ipv6) == (span.scope, span.ipv6) && span.first <= other.last =>
            {
                if (other.owner, other.part) <= (span.owner, span.part) {
                    report(other, span);
                } else {
                    report(span, other);
                }
            }
            _ => around = Some(span),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overlaps_are_found_in_their_scope_and_family() {
        let blocks =
            ["10.0.1.0/24", "10.0.0.0/16", "10.0.1.7/32", "10.1.0.0/16", "::a:0:0/96", "::/0", "0.0.0.0/0"];
        let mut spans: Vec<_> = (0..)
            .zip(blocks)
            .map(|(owner, block)| Span::new(owner / 4, block.parse().unwrap(), owner, ()))
            .collect();
        for (span, block) in spans.iter().zip(blocks) {
            assert_eq!(span.block().to_string(), block);
        }
        let mut found = Vec::new();
        overlaps(&mut spans, |a, b| found.push((a.owner, b.owner)));
        assert_eq!(found, [(0, 1), (1, 2), (4, 5)]);
    }
}
