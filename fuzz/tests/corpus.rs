//! What the fuzzers found interesting is tried at every test, without a fuzzer.

use std::fs;
use std::path::Path;

#[test]
fn every_input_of_the_corpora_is_taken() {
    let corpora = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    for (name, target) in throng_fuzz::TARGETS {
        let files = fs::read_dir(corpora.join(name)).unwrap();
        let mut tried = 0;
        for file in files {
            let path = file.unwrap().path();
            let data = fs::read(&path).unwrap();
            let taken = std::panic::catch_unwind(|| target(&data));
            assert!(taken.is_ok(), "{}", path.display());
            tried += 1;
        }
        assert!(tried > 0, "{name} has no corpus");
    }
}
