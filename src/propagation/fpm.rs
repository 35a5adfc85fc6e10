//! The FPM protocol's framing: how zebra parts the stream of a TCP connection.
//!
//! A frame is a header of four octets (version 1, type 1 for netlink, the length of header and body in network byte
//! order) and netlink messages; FRR's `fpm/fpm.h` is the only specification. Type 2, protobuf, is not read.

use std::{
    fmt,
    io::{self, Read},
};

/// Octets of the header.
const HEADER: usize = 4;
const VERSION: u8 = 1;
const NETLINK: u8 = 1;
const PROTOBUF: u8 = 2;
/// How much is read at once: more than a frame, which a length of 16 bits bounds.
const READ: usize = 256 << 10;

/// A stream that is not FPM's. What follows in it can't be trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameError {
    /// Another version.
    Version(u8),
    /// Another type of message.
    Type(u8),
    /// A length that does not even hold the header.
    Length(u16),
}

impl fmt::Display for FrameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Version(version) => {
                write!(f, "an FPM frame of version {version}, not {VERSION}: is it zebra that dialled?")
            }
            Self::Type(PROTOBUF) => f.write_str("zebra speaks protobuf: start it with `-M dplane_fpm_nl`"),
            Self::Type(kind) => write!(f, "an FPM frame of type {kind}, not {NETLINK} (netlink)"),
            Self::Length(len) => {
                write!(f, "an FPM frame of {len} octets, shorter than its header of {HEADER}")
            }
        }
    }
}

impl std::error::Error for FrameError {}

/// Cuts a stream into frames, however it arrives.
pub struct Frames {
    buffer: Box<[u8]>,
    /// Where the next frame starts.
    start: usize,
    /// Where what was read ends.
    end: usize,
}

impl Default for Frames {
    fn default() -> Self {
        Self { buffer: vec![0; READ].into(), start: 0, end: 0 }
    }
}

impl Frames {
    /// Reads once from the stream, after all whole frames were taken; returns how many octets came, 0 at its end.
    ///
    /// # Errors
    ///
    /// That of the stream.
    pub fn read(&mut self, stream: &mut impl Read) -> io::Result<usize> {
        // At most a part of a frame, so that there is room behind it.
        self.buffer.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
        let read = stream.read(&mut self.buffer[self.end..])?;
        self.end += read;
        Ok(read)
    }

    /// The netlink messages of the next frame; `None` if it has not arrived as a whole.
    ///
    /// # Errors
    ///
    /// Where the stream is not FPM's.
    pub fn next_frame(&mut self) -> Result<Option<&[u8]>, FrameError> {
        let rest = &self.buffer[self.start..self.end];
        let Some((&[version, kind, high, low], _)) = rest.split_first_chunk::<HEADER>() else {
            // The first octets say already that it is none.
            return match rest {
                [version, ..] if *version != VERSION => Err(FrameError::Version(*version)),
                _ => Ok(None),
            };
        };
        let len = u16::from_be_bytes([high, low]);
        match (version, kind) {
            (VERSION, NETLINK) if usize::from(len) < HEADER => return Err(FrameError::Length(len)),
            (VERSION, NETLINK) => {}
            (VERSION, _) => return Err(FrameError::Type(kind)),
            _ => return Err(FrameError::Version(version)),
        }
        let Some(body) = rest.get(HEADER..len.into()) else { return Ok(None) };
        self.start += usize::from(len);
        Ok(Some(body))
    }

    /// Whether a frame has begun and not ended.
    pub fn is_cut(&self) -> bool {
        self.start < self.end
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn frame(body: &[u8]) -> Vec<u8> {
        let len = (body.len() + HEADER) as u16;
        [&[VERSION, NETLINK][..], &len.to_be_bytes(), body].concat()
    }

    /// A stream that gives so many octets at a time.
    struct Pieces<'a>(&'a [u8], &'a [usize]);

    impl Read for Pieces<'_> {
        fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            let (piece, rest) = self.1.split_first().map_or((usize::MAX, self.1), |(len, rest)| (*len, rest));
            self.1 = rest;
            let len = piece.min(into.len());
            self.0.read(&mut into[..len])
        }
    }

    proptest! {
        #[test]
        fn frames_come_out_however_the_stream_is_cut(
            bodies in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..200), 0..20),
            pieces in proptest::collection::vec(1..300usize, 0..100),
            cut in 0..40usize,
        ) {
            let stream: Vec<u8> = bodies.iter().flat_map(|body| frame(body)).collect();
            let sent = &stream[..stream.len().saturating_sub(cut)];
            let mut input = Pieces(sent, &pieces);
            let (mut frames, mut read) = (Frames::default(), Vec::new());
            while frames.read(&mut input).unwrap() > 0 {
                while let Some(body) = frames.next_frame().unwrap() {
                    read.push(body.to_vec());
                }
            }
            let whole: usize = read.iter().map(|body| body.len() + HEADER).sum();
            prop_assert_eq!(&read[..], &bodies[..read.len()]);
            prop_assert_eq!(frames.is_cut(), whole < sent.len());
            prop_assert!(read.len() == bodies.len() || sent.len() < stream.len());
        }

        #[test]
        fn no_stream_makes_it_panic_or_read_beyond(stream in proptest::collection::vec(0..4u8, 0..600)) {
            let mut frames = Frames::default();
            frames.read(&mut &stream[..]).unwrap();
            let mut sum = 0;
            while let Ok(Some(body)) = frames.next_frame() {
                sum += body.len() + HEADER;
            }
            prop_assert!(sum <= stream.len());
        }
    }

    #[test]
    fn a_foreign_stream_is_an_error_that_says_what_it_is() {
        for (stream, error) in [
            (&b"GET / HTTP/1.1\r\n"[..], FrameError::Version(b'G')),
            (b"\x02", FrameError::Version(2)),
            (&[1, 2, 0, 40, 1], FrameError::Type(PROTOBUF)),
            (&[1, 7, 0, 40], FrameError::Type(7)),
            (&[1, 1, 0, 3], FrameError::Length(3)),
        ] {
            let mut frames = Frames::default();
            frames.read(&mut &stream[..]).unwrap();
            assert_eq!(frames.next_frame(), Err(error), "{error}");
        }
        assert!(FrameError::Type(PROTOBUF).to_string().contains("-M dplane_fpm_nl"));
    }
}
