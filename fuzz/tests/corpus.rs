//! What the fuzzers found interesting is tried at every test, without a fuzzer.

#![expect(
    clippy::unwrap_used,
    reason = "a test that can't go on has failed, and says where"
)]

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
            println!("{}", path.display());
            target(&fs::read(path).unwrap());
            tried += 1;
        }
        assert!(tried > 0, "{name} has no corpus");
    }
}
