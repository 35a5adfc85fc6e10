//! The inputs of an ordinary run: the seeds, the crashes, and mutations of them, the same in every run.

use std::{
    fs,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    path::{Path, PathBuf},
};

/// Multiplies the number of inputs that a target sees.
const FACTOR: &str = "WARREN_FUZZ_FACTOR";
/// The longest mutation, in bytes: more than the longest frame of a VXLAN underlay with an MTU of 1500.
const LONGEST: usize = 4096;

/// Runs a target on all its files, then on `count` mutations of them. An input that fails is kept in the temporary folder.
///
/// # Panics
///
/// As the target does; or if it has no seeds.
pub(crate) fn run(name: &str, count: u64, target: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz");
    let mut seeds = Vec::new();
    for path in ["crashes", "corpus"].iter().flat_map(|kind| files(&folder.join(kind).join(name))) {
        let bytes = fs::read(&path).expect("a readable file");
        check(name, target, &bytes, &path.display().to_string());
        seeds.push(bytes);
    }
    assert!(!seeds.is_empty(), "{name} has no corpus");
    let factor = std::env::var(FACTOR).map_or(1, |factor| factor.parse().expect(FACTOR));
    let mut random = Random(0x5eed);
    for number in 0..count * factor {
        let input = mutated(&seeds, &mut random);
        check(name, target, &input, &format!("input {number}"));
    }
}

/// In the order of their names, so that every run is the same.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten();
    let mut files: Vec<_> = entries.map(|entry| entry.expect("a readable folder").path()).collect();
    files.sort();
    files
}

fn check(name: &str, target: fn(&[u8]), input: &[u8], what: &str) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| target(input))) {
        let kept = std::env::temp_dir().join(format!("warren-crash-{name}"));
        let _ = fs::write(&kept, input);
        eprintln!("{what} of {name} fails; kept as {}", kept.display());
        resume_unwind(panic);
    }
}

/// SplitMix64 (Steele et al., OOPSLA 2014).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    fn below(&mut self, end: usize) -> usize {
        ((u128::from(self.next()) * end as u128) >> 64) as usize
    }

    fn of<'a, T>(&mut self, values: &'a [T]) -> &'a T {
        &values[self.below(values.len())]
    }

    /// A part of `bytes`, rather short than long.
    fn part(&mut self, bytes: &[u8]) -> std::ops::Range<usize> {
        let start = self.below(bytes.len() + 1);
        let longest = [4, 16, 64, bytes.len()][self.below(4)];
        start..start + self.below((bytes.len() - start).min(longest) + 1)
    }
}

/// A seed with a few changes of the kinds that break parsers.
fn mutated(seeds: &[Vec<u8>], random: &mut Random) -> Vec<u8> {
    let mut input = random.of(seeds).clone();
    for _ in 0..=random.below(6) {
        mutate(&mut input, seeds, random);
    }
    input.truncate(LONGEST);
    input
}

fn mutate(input: &mut Vec<u8>, seeds: &[Vec<u8>], random: &mut Random) {
    let part = random.part(input);
    match random.below(9) {
        0 => input.truncate(part.start),
        1 => drop(input.drain(part)),
        2 => {
            let copy = input[part.clone()].to_vec();
            input.splice(part.start..part.start, copy);
        }
        3 => {
            let other = random.of(seeds);
            let theirs = random.part(other);
            input.splice(part, other[theirs].iter().copied());
        }
        4 => {
            let grown = input.len() + random.below(80);
            let filler = *random.of(&[0, 0xff, b' ']);
            input.resize(grown, filler);
        }
        5 if input.len() >= 2 => {
            let at = random.below(input.len() - 1);
            let word = *random.of(&[0_u16, 1, 7, 8, 20, 0x7fff, 0x8000, 0xfff8, 0xffff]);
            input[at..at + 2].copy_from_slice(&word.to_be_bytes());
        }
        _ if input.is_empty() => input.push(random.next() as u8),
        6 => {
            let at = random.below(input.len());
            input[at] ^= 1 << random.below(8);
        }
        7 => {
            let at = random.below(input.len());
            input[at] = *random.of(&[0, 1, 2, 4, 5, 8, 20, 0x7f, 0x80, 0xfe, 0xff]);
        }
        _ => {
            let at = random.below(input.len());
            input[at] = random.next() as u8;
        }
    }
}
