//! The count of sets that are not lazy, which spares all others a walk, when its writer is killed.

use super::kill::{Operation, killed_after, serving};
use super::*;

/// That a zone has no set which serves more is said by a count, which is never behind.
#[test]
fn the_first_that_serves_more_and_the_last() {
    let (region, store) = new_store(SMALL);
    store.test_publish("a.test", &small(record(1, &[7]))).unwrap();
    let none = region.image();
    store.test_serve("a.test", small(record(2, &[7])), &["b.test"]).unwrap();
    let one = region.image();

    let lazy: Operation = |writer| {
        writer.test_publish("a.test", &small(record(3, &[])), 100, 9).unwrap();
    };
    let fixed: Operation = |writer| {
        writer.test_serve("a.test", &startup(small(record(3, &[]))), &["b.test"], 100, 9).unwrap();
    };
    let remove: Operation = |writer| assert!(writer.remove("a.test"));
    for (image, operation) in [(&none, fixed), (&one, fixed), (&one, lazy), (&one, remove)] {
        let serves = || match store.find("a.test") {
            Lookup::Found(entry) if !entry.is_lazy() => vec![("a.test".to_owned(), entry.id)],
            Lookup::Contended => panic!("contended"),
            _ => Vec::new(),
        };
        for stores in 1.. {
            region.restore(image);
            let write = || operation(&mut store.write(&TestLock::new()).unwrap());
            if !killed_after(&region, stores, write) {
                break;
            }
            assert_eq!(serving(&store, "b.test"), serves());
            let image = region.image();
            for stores in (stores % 31..).step_by(31) {
                region.restore(&image);
                let repair = || drop(store.write(&TestLock::new()));
                let killed = killed_after(&region, stores, repair);
                assert_eq!(serving(&store, "b.test"), serves());
                if !killed {
                    check(&store);
                    break;
                }
            }
        }
    }
}
