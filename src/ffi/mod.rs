//! Small safe wrappers of CPU and libc facilities that packet processing needs: prefetch, cycle counter, CPU pinning; and the C API
//! (`plugin`, feature `dpdk`).
#![allow(unsafe_code)]

#[cfg(feature = "dpdk")]
pub mod plugin;

use std::{
    alloc::{Layout, alloc, dealloc, handle_alloc_error},
    io, mem,
    ops::{Deref, DerefMut},
};

use arrayvec::ArrayVec;

/// Starts loading the cache line that holds the first byte of `value`. A hint: it never faults.
#[inline(always)]
pub fn prefetch<T: ?Sized>(value: &T) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a prefetch has no effect on memory, and the address is that of a live reference.
    unsafe {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T0>(std::ptr::from_ref(value).cast::<i8>());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = value;
}

/// Starts loading the cache line at an address, to be written: another processor that has it gives it away at once. A hint: it never
/// faults.
#[inline(always)]
pub fn prefetch_to_write(address: *const u8) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: it has no effect on memory, whatever the address, and does nothing on processors without it.
    unsafe {
        std::arch::asm!("prefetchw [{}]", in(reg) address, options(nostack, preserves_flags, readonly));
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = address;
}

/// The processor's time-stamp counter: cycles of a constant frequency on x86-64, nanoseconds elsewhere.
#[inline]
pub fn cycles() -> u64 {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: every x86-64 processor has RDTSC, and Linux lets user space execute it.
    unsafe {
        std::arch::x86_64::_rdtsc()
    }
    #[cfg(not(target_arch = "x86_64"))]
    {
        use std::{sync::OnceLock, time::Instant};
        static START: OnceLock<Instant> = OnceLock::new();
        START.get_or_init(Instant::now).elapsed().as_nanos() as u64
    }
}

/// Restricts the calling thread to the given CPUs.
///
/// # Errors
///
/// What the kernel says: EINVAL where none of the CPUs exists or is allowed to this process.
pub fn pin_to_cpus(cpus: &[usize]) -> io::Result<()> {
    // SAFETY: an all-zero `cpu_set_t` is the empty set.
    let mut set: libc::cpu_set_t = unsafe { mem::zeroed() };
    for &cpu in cpus {
        // SAFETY: `CPU_SET` ignores a CPU beyond the set's size.
        unsafe { libc::CPU_SET(cpu, &mut set) };
    }
    // SAFETY: `set` is a valid set of the size given; 0 is the calling thread.
    match unsafe { libc::sched_setaffinity(0, size_of_val(&set), &raw const set) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Runs `work` with all signals blocked, as a thread that it starts has them then: they are for the program's own threads.
pub fn without_signals<T>(work: impl FnOnce() -> T) -> T {
    // SAFETY: `sigfillset` makes a set of any memory; the calling thread's mask is put back.
    unsafe {
        let (mut all, mut before) = (mem::zeroed::<libc::sigset_t>(), mem::zeroed::<libc::sigset_t>());
        libc::sigfillset(&raw mut all);
        libc::pthread_sigmask(libc::SIG_SETMASK, &raw const all, &raw mut before);
        let result = work();
        libc::pthread_sigmask(libc::SIG_SETMASK, &raw const before, std::ptr::null_mut());
        result
    }
}

/// The CPUs that the calling thread may run on.
pub fn allowed_cpus() -> Vec<usize> {
    // SAFETY: an all-zero `cpu_set_t` is the empty set.
    let mut set: libc::cpu_set_t = unsafe { mem::zeroed() };
    // SAFETY: `set` is writable and of the size given; 0 is the calling thread.
    if unsafe { libc::sched_getaffinity(0, size_of_val(&set), &raw mut set) } != 0 {
        return Vec::new();
    }
    // SAFETY: `CPU_ISSET` answers false for a CPU beyond the set's size.
    (0..libc::CPU_SETSIZE as usize).filter(|&cpu| unsafe { libc::CPU_ISSET(cpu, &set) }).collect()
}

/// What elements can be moved to the end of without looking at each.
///
/// # Safety
///
/// [`Append::room`] gives memory that may be written.
pub unsafe trait Append<T> {
    /// Memory for up to `count` more elements behind those that are there, and for how many.
    fn room(&mut self, count: usize) -> (*mut T, usize);

    /// Says that there are `count` more elements.
    ///
    /// # Safety
    ///
    /// They were written to [`Append::room`], which was enough.
    unsafe fn grow(&mut self, count: usize);
}

// SAFETY: what it reserves, and its spare capacity, is the same.
unsafe impl<T> Append<T> for Vec<T> {
    #[inline]
    fn room(&mut self, count: usize) -> (*mut T, usize) {
        self.reserve(count);
        (self.spare_capacity_mut().as_mut_ptr().cast(), count)
    }

    #[inline]
    unsafe fn grow(&mut self, count: usize) {
        // SAFETY: as the caller promises.
        unsafe { self.set_len(self.len() + count) };
    }
}

// SAFETY: no more than its remaining capacity.
unsafe impl<T, const N: usize> Append<T> for ArrayVec<T, N> {
    #[inline]
    fn room(&mut self, count: usize) -> (*mut T, usize) {
        let (len, left) = (self.len(), self.remaining_capacity());
        // SAFETY: `len` is at most the capacity.
        (unsafe { self.as_mut_ptr().add(len) }, left.min(count))
    }

    #[inline]
    unsafe fn grow(&mut self, count: usize) {
        // SAFETY: as the caller promises.
        unsafe { self.set_len(self.len() + count) };
    }
}

/// Moves the first `count` elements of one to the end of the other at once, as far as they are there and there is room.
#[inline]
pub fn move_front<T, const N: usize>(from: &mut ArrayVec<T, N>, count: usize, to: &mut impl Append<T>) {
    let len = from.len();
    let (end, count) = to.room(count.min(len));
    // SAFETY: `count` elements are moved to where there is room for them, and the rest to the front; the lengths say so before
    // anything can look.
    unsafe {
        from.set_len(len - count);
        end.copy_from_nonoverlapping(from.as_ptr(), count);
        to.grow(count);
        from.as_mut_ptr().copy_from(from.as_ptr().add(count), len - count);
    }
}

/// A fixed slice in memory for which the kernel is asked to use huge pages, if it is not much smaller than one, so that random access to it
/// costs fewer translation misses.
pub struct HugeSlice<T> {
    start: std::ptr::NonNull<T>,
    len: usize,
}

/// What a huge page of the kernel's transparent ones is aligned to, on x86-64.
const HUGE_PAGE: usize = 2 << 20;
/// What is worth a huge page: as many small ones as a processor's first level of translations knows at once.
const WORTH_ONE: usize = 64 * 4096;
const CACHE_LINE: usize = 64;

impl<T: Copy> HugeSlice<T> {
    /// `len` copies of `value`.
    pub fn new(len: usize, value: T) -> Self {
        let layout = layout_of::<T>(len);
        // SAFETY: the layout is not of size zero.
        let memory = unsafe { alloc(layout) };
        let Some(start) = std::ptr::NonNull::new(memory.cast::<T>()) else { handle_alloc_error(layout) };
        if layout.align() >= HUGE_PAGE {
            // A kernel without transparent huge pages refuses, which costs time and nothing else.
            // SAFETY: the range is this allocation; the advice does not change its content.
            unsafe { libc::madvise(memory.cast(), layout.size(), libc::MADV_HUGEPAGE) };
        }
        for index in 0..len {
            // SAFETY: within the allocation, aligned for `T`.
            unsafe { start.add(index).write(value) };
        }
        Self { start, len }
    }

    /// Memory, in bytes: of whole huge pages, if it has some.
    pub fn bytes(&self) -> usize {
        layout_of::<T>(self.len).size()
    }
}

/// Where so many elements lie. What is much smaller than a huge page would have most of one cleared for nothing.
fn layout_of<T>(len: usize) -> Layout {
    let bytes = (len * size_of::<T>()).max(1);
    let unit = if bytes < WORTH_ONE { CACHE_LINE } else { HUGE_PAGE };
    match Layout::from_size_align(bytes.next_multiple_of(unit), unit.max(align_of::<T>())) {
        Ok(layout) => layout,
        Err(error) => panic!("{len} elements of {} bytes: {error}", size_of::<T>()),
    }
}

// SAFETY: it owns its elements, and nothing else points to them.
unsafe impl<T: Send> Send for HugeSlice<T> {}

// SAFETY: a shared reference to it gives shared references to its elements, and nothing else.
unsafe impl<T: Sync> Sync for HugeSlice<T> {}

impl<T> Deref for HugeSlice<T> {
    type Target = [T];

    #[inline]
    fn deref(&self) -> &[T] {
        // SAFETY: `len` elements were written, and `self` owns them.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.len) }
    }
}

impl<T> DerefMut for HugeSlice<T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: as above, and borrowed exclusively.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.len) }
    }
}

impl<T> Drop for HugeSlice<T> {
    fn drop(&mut self) {
        // SAFETY: allocated with this layout; elements are `Copy` and need no drop.
        unsafe { dealloc(self.start.as_ptr().cast(), layout_of::<T>(self.len)) };
    }
}

/// Which of eight words equal another: bit `i` for word `i`.
#[cfg(all(target_arch = "x86_64", target_feature = "avx2"))]
#[inline(always)]
pub fn equal_lanes(words: &[u32; 8], word: u32) -> u32 {
    use std::arch::x86_64::{
        _mm256_castsi256_ps, _mm256_cmpeq_epi32, _mm256_loadu_si256, _mm256_movemask_ps, _mm256_set1_epi32,
    };
    // SAFETY: the build is for processors with AVX2, and 32 bytes are read, which `words` has.
    unsafe {
        let all = _mm256_loadu_si256(words.as_ptr().cast());
        let equal = _mm256_cmpeq_epi32(all, _mm256_set1_epi32(word as i32));
        _mm256_movemask_ps(_mm256_castsi256_ps(equal)) as u32
    }
}

/// Which of eight words equal another: bit `i` for word `i`.
#[cfg(not(all(target_arch = "x86_64", target_feature = "avx2")))]
#[inline(always)]
pub fn equal_lanes(words: &[u32; 8], word: u32) -> u32 {
    (0..).zip(words).map(|(lane, &other)| u32::from(other == word) << lane).sum()
}

/// Whether two are equal in the bits of a mask.
#[cfg(all(target_arch = "x86_64", target_feature = "avx2"))]
#[inline(always)]
pub fn equal_under(mask: &[u8; 32], a: &[u8; 32], b: &[u8; 32]) -> bool {
    use std::arch::x86_64::{_mm256_loadu_si256, _mm256_testz_si256, _mm256_xor_si256};
    // SAFETY: the build is for processors with AVX2, and 32 bytes are read of each, which they have.
    unsafe {
        let load = |bytes: &[u8; 32]| _mm256_loadu_si256(bytes.as_ptr().cast());
        _mm256_testz_si256(load(mask), _mm256_xor_si256(load(a), load(b))) != 0
    }
}

/// Whether two are equal in the bits of a mask.
#[cfg(not(all(target_arch = "x86_64", target_feature = "avx2")))]
#[inline(always)]
pub fn equal_under(mask: &[u8; 32], a: &[u8; 32], b: &[u8; 32]) -> bool {
    mask.iter().zip(a.iter().zip(b)).all(|(mask, (a, b))| (a ^ b) & mask == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_move_from_the_front_to_the_end() {
        let text = |n: u32| n.to_string();
        let mut from: ArrayVec<String, 8> = (0..5).map(text).collect();
        let mut to = vec![text(9)];
        move_front(&mut from, 2, &mut to);
        move_front(&mut from, 0, &mut to);
        assert_eq!(
            (&from[..], &to[..]),
            (&["2", "3", "4"].map(String::from)[..], &["9", "0", "1"].map(String::from)[..])
        );
        let mut short: ArrayVec<String, 2> = ArrayVec::new();
        move_front(&mut from, 3, &mut short);
        assert_eq!(
            (&from[..], &short[..]),
            (&["4"].map(String::from)[..], &["2", "3"].map(String::from)[..])
        );
        move_front(&mut from, 7, &mut to);
        assert_eq!((from.len(), to.len()), (0, 4));
    }

    #[test]
    fn lanes_that_are_equal() {
        for mask in 0..256_u32 {
            let words =
                std::array::from_fn(|lane| if mask >> lane & 1 == 1 { 0x8000_0001 } else { lane as u32 });
            assert_eq!(equal_lanes(&words, 0x8000_0001), mask);
        }
    }

    #[test]
    fn a_thread_can_be_pinned_to_one_of_its_cpus() {
        let cpu = allowed_cpus()[0];
        pin_to_cpus(&[cpu]).unwrap();
        assert_eq!(allowed_cpus(), [cpu]);
        assert!(pin_to_cpus(&[]).is_err());
    }
}
