use proptest::prelude::*;

use super::*;
use crate::packet::{Cut, HeapBuffer, finish_checksum, segments::tests::plain_run};

const BOTH: Takes = Takes { v4: true, v6: true };

fn cut(run: &[u8], size: u16) -> Vec<HeapBuffer> {
    let mut cut = Cut::new(HeapBuffer::new(run), size).unwrap();
    std::iter::from_fn(|| cut.next_segment().unwrap()).collect()
}

fn joined(frames: Vec<HeapBuffer>, takes: Takes) -> ArrayVec<HeapBuffer, 64> {
    let mut burst: ArrayVec<HeapBuffer, 64> = frames.into_iter().collect();
    join(&mut burst, takes);
    burst
}

/// Data that takes `count` segments of at most `size` octets.
fn data() -> impl Strategy<Value = (u16, Vec<u8>)> {
    (1u16..300, 1usize..40).prop_flat_map(|(size, count)| {
        let most = usize::from(size) * count;
        (Just(size), proptest::collection::vec(any::<u8>(), most - usize::from(size) + 1..=most))
    })
}

proptest! {
    #[test]
    fn what_was_cut_becomes_what_it_was(v6: bool, ends in 0u8..4, (size, data) in data()) {
        // ACK, ECE, CWR; PSH and FIN.
        let flags = 0xd0 | (ends & 1) << 3 | ends >> 1;
        let mut run = plain_run(v6, flags, &data);
        let mut burst = joined(cut(&run, size), BOTH);
        prop_assert_eq!(burst.len(), 1);
        let mut frame = burst.remove(0);
        // What a receiver makes of the pseudo-header's sum: the checksum of the whole.
        let l4 = if v6 { 54 } else { 34 };
        if data.len() > usize::from(size) {
            let described = Run { v6, l2: 14, l3: l4 - 14, l4: 32, size };
            prop_assert_eq!(frame.run(), Some(described));
            prop_assert_eq!(frame.as_sent(), (
                data.len().div_ceil(size.into()) as u64,
                (data.len() + data.len().div_ceil(size.into()) * (l4 + 32)) as u64,
            ));
            let sum = Sum::of(&frame.data()[l4..]).checksum();
            frame.data_mut()[l4 + 16..l4 + 18].copy_from_slice(&sum.to_be_bytes());
        }
        prop_assert!(finish_checksum(&mut run));
        prop_assert_eq!(frame.data(), &run[..]);
    }

    #[test]
    fn nothing_is_lost_or_out_of_order(
        picks in proptest::collection::vec((0usize..3, 0usize..6, 0usize..40), 1..60),
    ) {
        // Segments of three runs, in any order, some of them spoilt.
        let runs: Vec<_> = [(false, 0x10u8), (true, 0x18), (false, 0x19)]
            .map(|(v6, flags)| cut(&plain_run(v6, flags, &[flags; 550]), 100)).into();
        let frames: Vec<_> = picks.iter().map(|&(run, at, spoil)| {
            let mut frame = runs[run][at].clone();
            if let Some(octet) = frame.data_mut().get_mut(14 + 3 * spoil).filter(|_| spoil < 20) {
                *octet ^= 0x41;
            }
            frame
        }).collect();
        let payload = |frame: &HeapBuffer, from: usize| frame.data()[from..].to_vec();
        let mut before = frames.clone().into_iter();
        for frame in joined(frames, BOTH) {
            let Some(run) = frame.run() else {
                prop_assert_eq!(Some(frame), before.next());
                continue;
            };
            let start = run.l2 + run.l3 + run.l4;
            let mut data = payload(&frame, start);
            while !data.is_empty() {
                let part = payload(&before.next().unwrap(), start);
                prop_assert_eq!(&data[..part.len()], &part[..]);
                data.drain(..part.len());
            }
        }
        prop_assert_eq!(before.next(), None);
    }
}

#[test]
fn what_a_receiver_does_not_take_stays() {
    for (v6, takes) in [(false, Takes { v4: false, v6: true }), (true, Takes { v4: true, v6: false })] {
        let segments = cut(&plain_run(v6, 0x10, &[1; 300]), 100);
        assert_eq!(joined(segments.clone(), takes)[..], segments[..]);
    }
}

#[test]
fn a_wrong_checksum_is_not_hidden() {
    for at in [24, 40, 50, 80] {
        let mut segments = cut(&plain_run(false, 0x10, &[1; 300]), 100);
        segments[1].data_mut()[at] ^= 1;
        assert_eq!(joined(segments.clone(), BOTH)[..], segments[..], "octet {at}");
    }
}
