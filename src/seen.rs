//! The zone's memory of the directories that files were seen in.

use crate::files::SeenDirectories;
use crate::store::Store;

impl SeenDirectories for Store {
    fn seen(&self, index: usize) -> u64 {
        self.directory(index)
    }

    fn note(&self, index: usize, identity: u64) {
        self.set_directory(index, identity);
    }
}
