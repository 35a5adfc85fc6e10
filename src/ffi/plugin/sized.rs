//! Structs that grow from version to version: a program's is as long as in the version that it was compiled against.

use std::{mem::MaybeUninit, ptr};

use super::{
    error::{Failure, null},
    warren_applied, warren_counters, warren_options, warren_port,
};

/// A struct of C whose first member is its size, a `usize`, and which is only ever appended to.
///
/// # Safety
///
/// That is how it is laid out, and zeros are a value of it: the one that means what versions did which hadn't the member.
pub(super) unsafe trait Growing {
    /// What C calls it.
    const NAME: &str;
    /// Its sizes, of all versions: the present one is the last.
    const SIZES: &[usize];
}

macro_rules! growing {
    ($($name:ident: $($size:literal),+;)+) => {$(
        // SAFETY: `size` is first, and integers and pointers may be zero.
        unsafe impl Growing for $name {
            const NAME: &str = stringify!($name);
            const SIZES: &[usize] = &[$($size),+];
        }
        const _: () = assert!(
            size_of::<$name>() == *<$name as Growing>::SIZES.last().unwrap(),
            concat!("struct ", stringify!($name), " has another size than in the last version: append that"),
        );
    )+};
}

// By version: 0.1.0.
growing! {
    warren_port: 48;
    warren_options: 72;
    warren_applied: 32;
    warren_counters: 48;
}

/// How many bytes of a struct the program has.
///
/// # Safety
///
/// `value` is NULL, or valid for as many bytes as its first member says.
unsafe fn bytes<T: Growing>(value: *const T, name: &str) -> Result<usize, Failure> {
    if value.is_null() {
        return Err(null(name));
    }
    // SAFETY: as the caller promises.
    let size = unsafe { value.cast::<usize>().read() };
    if T::SIZES.contains(&size) {
        return Ok(size);
    }
    let (kind, ours) = (T::NAME, size_of::<T>());
    Err(Failure::argument(if size > ours {
        format!(
            "{name}->size is {size}, but sizeof(struct {kind}) is {ours} in this version of libwarren.so: take one at least as \
             new as the warren.h that the program was compiled with"
        )
    } else {
        format!("{name}->size is {size}; set it to sizeof(struct {kind}), which is {ours} in this version")
    }))
}

/// A struct that the program has filled in; what it lacks is zero.
///
/// # Safety
///
/// `value` is NULL, or valid for as many bytes as its first member says.
pub(super) unsafe fn read<T: Growing>(value: *const T, name: &str) -> Result<T, Failure> {
    // SAFETY: as the caller promises.
    let bytes = unsafe { bytes(value, name)? };
    let mut whole = MaybeUninit::<T>::zeroed();
    // SAFETY: so many bytes are there, and not more than ours; the rest is zero, as `Growing` allows.
    unsafe {
        ptr::copy_nonoverlapping(value.cast::<u8>(), whole.as_mut_ptr().cast(), bytes);
        Ok(whole.assume_init())
    }
}

/// A struct of the program's that is to be filled in, as far as it goes.
pub(super) struct Out<T> {
    to: *mut T,
    bytes: usize,
}

impl<T: Growing> Out<T> {
    /// # Safety
    ///
    /// `to` is NULL, or valid for as many bytes as its first member says until it is written, and nobody else has it.
    pub(super) unsafe fn new(to: *mut T, name: &str) -> Result<Self, Failure> {
        // SAFETY: as the caller promises.
        Ok(Self { to, bytes: unsafe { bytes(to, name)? } })
    }

    /// Writes what the program knows of it. Its `size` stays.
    pub(super) fn write(self, value: &T) {
        let members = size_of::<usize>()..self.bytes;
        // SAFETY: so many bytes are there, and not more than ours.
        unsafe {
            ptr::copy_nonoverlapping(
                ptr::from_ref(value).cast::<u8>().add(members.start),
                self.to.cast::<u8>().add(members.start),
                members.len(),
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A struct of three versions.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    #[repr(C)]
    struct Grown {
        size: usize,
        first: u64,
        second: u64,
        third: u64,
    }

    // SAFETY: `size` is first, and all of it may be zero.
    unsafe impl Growing for Grown {
        const NAME: &str = "grown";
        const SIZES: &[usize] = &[16, 24, 32];
    }

    const ONES: Grown = Grown { size: 16, first: 1, second: 1, third: 1 };

    #[test]
    fn an_older_program_s_struct_has_defaults_where_it_ends() {
        for (size, second, third) in [(16, 0, 0), (24, 1, 0), (32, 1, 1)] {
            // SAFETY: it is all there.
            let read = unsafe { read(&Grown { size, ..ONES }, "grown") };
            assert_eq!(read.unwrap(), Grown { size, first: 1, second, third });
        }
    }

    #[test]
    fn nothing_is_written_beyond_an_older_program_s_struct() {
        for (size, second, third) in [(16, 1, 1), (24, 7, 1), (32, 7, 7)] {
            let mut grown = Grown { size, ..ONES };
            // SAFETY: as above.
            let out = unsafe { Out::new(&raw mut grown, "grown") };
            out.unwrap().write(&Grown { size: 32, first: 7, second: 7, third: 7 });
            assert_eq!(grown, Grown { size, first: 7, second, third });
        }
    }

    #[test]
    fn a_size_of_no_version_is_refused_and_a_newer_one_named() {
        for (size, text) in
            [(0, "set it to sizeof"), (20, "set it to sizeof"), (40, "as new as the warren.h")]
        {
            // SAFETY: as above.
            let refusal = unsafe { read(&Grown { size, ..ONES }, "grown") }.unwrap_err();
            assert!(format!("{refusal:?}").contains(text), "{size}: {refusal:?}");
        }
    }
}
