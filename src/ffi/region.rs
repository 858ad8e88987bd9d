//! Shared memory as atomic words: the only view of a zone's bytes that the store has.
//!
//! Several processes map the same bytes and any of them may write at any time, so nothing here is
//! ever a reference to plain data, and every access has the same width: one aligned 64-bit word.
//! An index outside of the region is answered, not trusted: a load gives 0, a store does nothing.

use super::atomic::{AtomicU64, Ordering};
use std::ptr::NonNull;

/// Bytes in a word.
pub(crate) const WORD: usize = 8;

/// A handle on shared words; copies are handles on the same words.
#[derive(Clone, Copy)]
pub(crate) struct Region {
    base: NonNull<AtomicU64>,
    words: usize,
    #[cfg(test)]
    faults: &'static test_support::Faults,
}

// SAFETY: the handle gives access to the words by atomic operations only, which any thread may
// use at any time; `from_raw` has its caller keep the mapping for as long as any handle lives.
unsafe impl Send for Region {}
// SAFETY: as above.
unsafe impl Sync for Region {}

impl Region {
    /// The words in `len` bytes at `ptr`; a last part that fills no word is left out, and memory
    /// that is not aligned to 8 bytes gives a region of no words.
    ///
    /// # Safety
    ///
    /// The bytes stay mapped, readable and writable, until the last copy of the handle is gone
    /// (a zone: for the life of the cycle that declares it), and nothing but atomic words
    /// (handles of this type, in any process) accesses them meanwhile.
    pub(crate) unsafe fn from_raw(ptr: NonNull<u8>, len: usize) -> Region {
        let base = ptr.cast::<AtomicU64>();
        let words = if base.is_aligned() { len / WORD } else { 0 };
        Region {
            base,
            words,
            #[cfg(test)]
            faults: &test_support::NONE,
        }
    }

    /// How many words there are.
    #[inline]
    pub(crate) fn words(&self) -> usize {
        self.words
    }

    #[inline]
    fn word(&self, word: usize) -> Option<&AtomicU64> {
        if word >= self.words {
            return None;
        }
        // SAFETY: the index is inside of the `words` that `from_raw` was promised, mapped for as
        // long as a handle lives and accessed by atomics only; every bit pattern is an AtomicU64.
        Some(unsafe { self.base.add(word).as_ref() })
    }

    #[inline]
    fn word_to_change(&self, word: usize) -> Option<&AtomicU64> {
        #[cfg(test)]
        self.faults.at_store();
        #[cfg(all(not(any(test, fuzzing)), feature = "fault-injection"))]
        super::fault::at_store();
        self.word(word)
    }

    /// The word; 0 outside of the region. `order` is one that a load can have.
    #[inline]
    pub(crate) fn load(&self, word: usize, order: Ordering) -> u64 {
        #[cfg(test)]
        self.faults.at_load();
        self.word(word).map_or(0, |w| w.load(order))
    }

    /// Changes the word; nothing outside of the region. `order` is one that a store can have.
    #[inline]
    pub(crate) fn store(&self, word: usize, value: u64, order: Ordering) {
        if let Some(w) = self.word_to_change(word) {
            w.store(value, order);
        }
    }

    /// Adds (wrapping) and gives the value before; 0 outside of the region.
    #[inline]
    pub(crate) fn fetch_add(&self, word: usize, value: u64, order: Ordering) -> u64 {
        self.word_to_change(word).map_or(0, |w| w.fetch_add(value, order))
    }

    /// Raises the word to `value` and gives the value before; 0 outside of the region.
    #[inline]
    pub(crate) fn fetch_max(&self, word: usize, value: u64, order: Ordering) -> u64 {
        self.word_to_change(word).map_or(0, |w| w.fetch_max(value, order))
    }

    /// Replaces `current` by `new`, or gives the value that was found instead (0 outside of the
    /// region). Acquire and Release.
    #[inline]
    pub(crate) fn compare_exchange(&self, word: usize, current: u64, new: u64) -> Result<u64, u64> {
        self.word_to_change(word).map_or(Err(0), |w| {
            w.compare_exchange(current, new, Ordering::AcqRel, Ordering::Acquire)
        })
    }

    /// Writes `bytes` from the start of a word on, zeros up to the end of the last word. Relaxed.
    pub(crate) fn write_bytes(&self, word: usize, bytes: &[u8]) {
        for (i, chunk) in bytes.chunks(WORD).enumerate() {
            self.store(word.saturating_add(i), word_of(chunk), Ordering::Relaxed);
        }
    }

    /// Appends `len` bytes from the start of a word on to `out`, which grows to exactly what it
    /// needs and is not moved when it has the room. Relaxed. False, and `out` as it was, when
    /// they are not all in the region or there is no memory for them.
    pub(crate) fn read_bytes(&self, word: usize, len: usize, out: &mut Vec<u8>) -> bool {
        let end = word.checked_add(len.div_ceil(WORD));
        if end.is_none_or(|end| end > self.words) || out.try_reserve_exact(len).is_err() {
            return false;
        }

        let mut left = len;
        for i in 0..len.div_ceil(WORD) {
            let bytes = self.load(word + i, Ordering::Relaxed).to_ne_bytes();
            out.extend(bytes.iter().take(left));
            left = left.saturating_sub(WORD);
        }
        true
    }

    /// Whether the bytes from the start of a word on are `bytes`. Relaxed.
    pub(crate) fn equals(&self, word: usize, bytes: &[u8]) -> bool {
        bytes.chunks(WORD).enumerate().all(|(i, chunk)| {
            let found = self.load(word.saturating_add(i), Ordering::Relaxed).to_ne_bytes();
            found.starts_with(chunk)
        })
    }

    /// Zeroes `words` words. Relaxed; the compiler cannot leave out atomic stores that another
    /// process may see.
    pub(crate) fn wipe(&self, word: usize, words: usize) {
        for i in 0..words.min(self.words) {
            self.store(word.saturating_add(i), 0, Ordering::Relaxed);
        }
    }
}

/// Up to 8 bytes as they lie in a word, with zeros behind.
fn word_of(chunk: &[u8]) -> u64 {
    let mut bytes = [0; WORD];
    for (to, from) in bytes.iter_mut().zip(chunk) {
        *to = *from;
    }
    u64::from_ne_bytes(bytes)
}

#[cfg(fuzzing)]
pub(crate) mod owned {
    use super::*;

    /// Words of its own, for as long as it lives: for fuzz targets, of which each run begins anew.
    pub(crate) struct Memory {
        pub(crate) words: Vec<u64>,
    }

    impl Memory {
        pub(crate) fn new(bytes: usize) -> Memory {
            Memory { words: vec![0; bytes / WORD] }
        }

        /// All of it; handles are not used after it is dropped, nor while `words` is.
        pub(crate) fn region(&mut self) -> Region {
            let bytes = NonNull::from(self.words.as_mut_slice()).cast::<u8>();
            // SAFETY: the vector is neither moved in memory nor freed before the target that made it
            // returns, and nothing else touches it while a handle is in use.
            unsafe { Region::from_raw(bytes, self.words.len() * WORD) }
        }
    }
}

#[cfg(test)]
pub(crate) mod test_support {
    use std::fs::File;
    use std::ptr;
    use std::sync::Mutex;
    // Not of what a model watches.
    use std::sync::atomic::{AtomicBool, AtomicU64 as Count};

    use rustix::mm::{MapFlags, ProtFlags, mmap};
    use rustix::process::{Signal, getpid, kill_process};

    use super::*;

    /// What happens at a chosen store or load of a region.
    pub(crate) struct Faults {
        /// Stores that still happen before one panics: the process is killed. `u64::MAX`: all.
        stores: Count,
        /// It is killed indeed.
        by_signal: AtomicBool,
        /// Loads before `meanwhile` is done: what others do between two loads. `u64::MAX`: never.
        loads: Count,
        meanwhile: Mutex<Option<Box<dyn FnOnce() + Send>>>,
    }

    pub(super) static NONE: Faults = Faults::none();

    impl Faults {
        const fn none() -> Faults {
            Faults {
                stores: Count::new(u64::MAX),
                by_signal: AtomicBool::new(false),
                loads: Count::new(u64::MAX),
                meanwhile: Mutex::new(None),
            }
        }

        pub(super) fn at_store(&self) {
            match self.stores.load(Ordering::Relaxed) {
                u64::MAX => {}
                0 if self.by_signal.load(Ordering::Relaxed) => {
                    let _ = kill_process(getpid(), Signal::KILL);
                }
                // As a panic, without the message.
                0 => std::panic::resume_unwind(Box::new("killed")),
                left => self.stores.store(left - 1, Ordering::Relaxed),
            }
        }

        pub(super) fn at_load(&self) {
            match self.loads.load(Ordering::Relaxed) {
                u64::MAX => {}
                0 => {
                    self.loads.store(u64::MAX, Ordering::Relaxed);
                    let meanwhile = self.meanwhile.lock().unwrap().take();
                    meanwhile.into_iter().for_each(|act| act());
                }
                left => self.loads.store(left - 1, Ordering::Relaxed),
            }
        }
    }

    impl Region {
        /// Zeroed words on the heap, which are never freed.
        pub(crate) fn on_heap(len: usize) -> Region {
            let words: Vec<AtomicU64> = (0..len / WORD).map(|_| AtomicU64::new(0)).collect();
            let words: &'static [AtomicU64] = words.leak();
            Region {
                base: NonNull::from(words).cast(),
                words: words.len(),
                faults: Box::leak(Box::new(Faults::none())),
            }
        }

        /// The first `len` bytes of a file, shared with all that map it; never unmapped.
        pub(crate) fn of_file(file: &File, len: usize) -> Region {
            let access = ProtFlags::READ | ProtFlags::WRITE;
            // SAFETY: a new mapping, of bytes that the file has; all who have it use handles.
            let region = unsafe {
                let base = mmap(ptr::null_mut(), len, access, MapFlags::SHARED, file, 0).unwrap();
                Region::from_raw(NonNull::new(base.cast()).unwrap(), len)
            };
            Region { faults: Box::leak(Box::new(Faults::none())), ..region }
        }

        /// The next `stores` stores happen, at the one after them the process gets SIGKILL.
        pub(crate) fn kill_process_after(&self, stores: u64) {
            self.faults.by_signal.store(true, Ordering::Relaxed);
            self.kill_after(stores);
        }

        /// The next `stores` stores happen, the one after them panics, as all that follow.
        pub(crate) fn kill_after(&self, stores: u64) {
            self.faults.stores.store(stores, Ordering::Relaxed);
        }

        /// All stores happen from now on. How many were left.
        pub(crate) fn revive(&self) -> u64 {
            self.faults.stores.swap(u64::MAX, Ordering::Relaxed)
        }

        /// Does it after the next `loads` loads, before the one after them.
        pub(crate) fn after_loads(&self, loads: u64, meanwhile: impl FnOnce() + Send + 'static) {
            *self.faults.meanwhile.lock().unwrap() = Some(Box::new(meanwhile));
            self.faults.loads.store(loads, Ordering::Relaxed);
        }

        /// Whether what was to be done after loads was done; it is not any more.
        pub(crate) fn was_done(&self) -> bool {
            self.faults.loads.store(u64::MAX, Ordering::Relaxed);
            self.faults.meanwhile.lock().unwrap().take().is_none()
        }

        /// A copy of all words.
        pub(crate) fn image(&self) -> Vec<u64> {
            (0..self.words).map(|i| self.load(i, Ordering::Relaxed)).collect()
        }

        /// All words from a copy; it has as many.
        pub(crate) fn restore(&self, image: &[u64]) {
            assert_eq!(image.len(), self.words);
            for (i, word) in image.iter().enumerate() {
                self.store(i, *word, Ordering::Relaxed);
            }
        }

        /// Whether `pattern` is anywhere in the bytes.
        pub(crate) fn contains(&self, pattern: &[u8]) -> bool {
            let bytes: Vec<u8> = self.image().iter().flat_map(|w| w.to_ne_bytes()).collect();
            bytes.windows(pattern.len()).any(|w| w == pattern)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outside_is_answered() {
        let region = Region::on_heap(64);
        assert_eq!(region.words(), 8);
        for word in [8, 9, usize::MAX] {
            region.store(word, 7, Ordering::Relaxed);
            assert_eq!(region.load(word, Ordering::Relaxed), 0);
            assert_eq!(region.fetch_add(word, 1, Ordering::Relaxed), 0);
            assert_eq!(region.fetch_max(word, 1, Ordering::Relaxed), 0);
            assert_eq!(region.compare_exchange(word, 0, 1), Err(0));
            region.wipe(word, usize::MAX);
            region.write_bytes(word, b"0123456789");
            assert!(!region.read_bytes(word, 9, &mut Vec::new()));
        }
        assert!(!region.read_bytes(0, 65, &mut Vec::new()));
        assert!(!region.read_bytes(0, usize::MAX, &mut Vec::new()));
        assert!(region.image().iter().all(|w| *w == 0));
    }

    #[test]
    fn bytes_there_and_back() {
        let region = Region::on_heap(64);
        for len in 0..=40 {
            let bytes: Vec<u8> = (1..=len).collect();
            region.store(1 + bytes.len() / 8, u64::MAX, Ordering::Relaxed);
            region.write_bytes(1, &bytes);

            let mut out = Vec::with_capacity(bytes.len());
            let address = out.as_ptr();
            assert!(region.read_bytes(1, bytes.len(), &mut out));
            assert_eq!(out, bytes);
            assert_eq!(out.as_ptr(), address);
            assert!(region.equals(1, &bytes));
            assert!(len == 0 || !region.equals(2, &bytes));
        }
        region.wipe(0, 8);
        assert!(!region.contains(&[1, 2]));
    }

    #[test]
    fn misaligned_memory_is_no_region() {
        let words = [0u64; 4];
        let ptr = NonNull::from(&words).cast::<u8>();
        // SAFETY: one byte into an array of 32, which outlives the handle.
        let region = unsafe { Region::from_raw(ptr.add(1), 24) };
        assert_eq!(region.words(), 0);
    }

    #[test]
    fn killed_at_a_store() {
        let region = Region::on_heap(64);
        region.kill_after(2);
        let killed = std::panic::catch_unwind(|| region.wipe(0, 8));
        assert!(killed.is_err());
        assert!(std::panic::catch_unwind(|| region.store(0, 1, Ordering::Relaxed)).is_err());
        assert_eq!(region.revive(), 0);
        region.store(0, 1, Ordering::Relaxed);
    }
}
