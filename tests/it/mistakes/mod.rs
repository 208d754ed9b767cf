//! Mistakes: each is told in a sentence, before anything is sent or overwritten.

mod places;
mod rows;
mod values;

use throng_mock::Mock;

use crate::harness::{Ended, Place, Throng, plain_mock, run, symbols};

/// A good job by flags, whose rows are in `rows.csv`; a test spoils something.
pub struct Good {
    pub place: Place,
    pub mock: Mock,
}

impl Good {
    pub fn new() -> Good {
        let (place, mock) = (Place::new(), plain_mock());
        place.file("rows.csv", &symbols(3));
        Good { place, mock }
    }

    pub fn run(&self) -> Throng {
        let input = self.place.path("rows.csv");
        run().quotes(&self.mock.url()).arg("--input", &input)
    }

    /// The same with a job file, in which these lines are the last ones.
    pub fn job(&self, name: &str, more: &str) -> Throng {
        let text = format!(
            "[input]\nfile = \"{}\"\n[request]\nurl = \"{}/echo\"\n{more}",
            self.place.path("rows.csv"),
            self.mock.url()
        );
        run().flags(&self.place.file(name, &text))
    }

    #[track_caller]
    pub fn refuses(&self, throng: Throng, sentences: &[&str]) -> Ended {
        let ended = throng.exits(2);
        for sentence in sentences {
            ended.says(sentence);
        }
        assert_eq!(ended.stdout, "");
        assert_eq!(self.mock.judgement().requests, 0);
        ended
    }
}

#[test]
fn the_good_job_is_good() {
    let good = Good::new();
    good.run().exits(0);
    good.job("job.toml", "").exits(0);
    assert_eq!(good.mock.judgement().requests, 6);
}
