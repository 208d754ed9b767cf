//! Sets of row numbers as a text: `100-199 205`. Pure.

use roaring::RoaringTreemap;

/// The text of these numbers.
pub(crate) fn to_text(numbers: &RoaringTreemap) -> String {
    let mut text = String::new();
    let mut run: Option<(u64, u64)> = None;
    for number in numbers {
        match &mut run {
            Some((_, last)) if *last + 1 == number => *last = number,
            _ => {
                push(&mut text, run);
                run = Some((number, number));
            }
        }
    }
    push(&mut text, run);
    text
}

fn push(text: &mut String, run: Option<(u64, u64)>) {
    let Some((first, last)) = run else { return };
    if !text.is_empty() {
        text.push(' ');
    }
    text.push_str(&first.to_string());
    if last > first {
        text.push('-');
        text.push_str(&last.to_string());
    }
}

/// The numbers of a text; none if it has another form.
pub(crate) fn of_text(text: &str) -> Option<RoaringTreemap> {
    let mut numbers = RoaringTreemap::new();
    for run in text.split_whitespace() {
        let (first, last) = run.split_once('-').unwrap_or((run, run));
        let (first, last): (u64, u64) = (first.parse().ok()?, last.parse().ok()?);
        numbers.insert_range(first..=last);
    }
    Some(numbers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_back_from_their_text() {
        for (numbers, text) in [
            (vec![], ""),
            (vec![7], "7"),
            (vec![0, 1, 2, 5, 8, 9], "0-2 5 8-9"),
            (vec![u64::MAX - 1, u64::MAX], "18446744073709551614-18446744073709551615"),
        ] {
            let numbers: RoaringTreemap = numbers.into_iter().collect();
            assert_eq!(to_text(&numbers), text);
            assert_eq!(of_text(text), Some(numbers));
        }
        assert_eq!(of_text("1-x"), None);
    }
}
