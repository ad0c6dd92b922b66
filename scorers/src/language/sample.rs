//! A sample of a text that represents all of it: short stretches, evenly spread, in which white
//! space of any kind is one space.
//!
//! Each sixteenth of a long text has one stretch. Its place in the sixteenth follows the golden
//! ratio, so that a text with a regular pattern is not met at the same point of each.
//! Cost: a pass over at most [`SAMPLE_BYTES`] bytes.

use std::borrow::Cow;
use std::ops::Range;

use super::script::{Blocks, Script, Scripts};

/// The most bytes of a text that are read. Texts of up to this size are read whole.
pub const SAMPLE_BYTES: usize = 2048;

/// The most stretches of a sample.
const STRETCHES: usize = 16;

/// The size of a stretch of a long text in bytes.
const STRETCH_BYTES: usize = SAMPLE_BYTES / STRETCHES;

/// The most bytes at an end of a stretch that are left out because they cut a word.
const CUT_BYTES: usize = STRETCH_BYTES / 4;

/// The sample of a text.
pub(super) struct Sample<'a> {
    /// The stretches one after another, words separated and followed by one space.
    text: &'a str,
    stretches: Vec<Stretch>,
    /// The bytes of all letters.
    letters: u32,
    /// What letters of scripts without a block count as.
    others: Script,
}

/// A stretch of the text.
struct Stretch {
    /// Its place in the sample.
    place: Range<usize>,
    /// The bytes of its letters by script, and of all of them.
    scripts: Scripts,
    letters: u32,
    /// The script of most of its letters.
    main: Option<Script>,
}

impl<'a> Sample<'a> {
    /// The sample of `text`, which is written into `scratch`. `others` is what letters of scripts
    /// without a block count as: [`Script::None`] or [`Script::Other`].
    pub(super) fn of(text: &str, others: Script, scratch: &'a mut String) -> Sample<'a> {
        scratch.clear();
        let mut blocks = Blocks::new(others);

        let stretches: Vec<Stretch> = places(text)
            .into_iter()
            .map(|place| {
                let start = scratch.len();
                let scripts = push_words(&text[place], scratch, &mut blocks);
                Stretch {
                    place: start..scratch.len(),
                    main: scripts.main(),
                    letters: scripts.letters(),
                    scripts,
                }
            })
            .collect();

        Sample {
            text: scratch,
            letters: stretches.iter().map(|own| own.letters).sum(),
            stretches,
            others,
        }
    }

    /// The scripts of the sample with the numbers of their stretches. The script with the most
    /// bytes of letters comes first. Stretches without letters are left out.
    pub(super) fn by_script(&self) -> Vec<(Script, Vec<usize>)> {
        let mut all: Vec<(Script, Vec<usize>)> = Vec::new();
        for (i, stretch) in self.stretches.iter().enumerate() {
            let Some(main) = stretch.main else { continue };
            match all.iter_mut().find(|(script, _)| *script == main) {
                Some((_, own)) => own.push(i),
                None => all.push((main, vec![i])),
            }
        }

        all.sort_by_key(|(_, own)| std::cmp::Reverse(self.bytes(own)));
        all
    }

    /// The bytes of all letters in these stretches.
    pub(super) fn bytes(&self, stretches: &[usize]) -> u32 {
        stretches.iter().map(|&i| self.stretches[i].letters).sum()
    }

    /// The share of these stretches of all letters in the sample, by bytes, in \[0, 1\].
    pub(super) fn share(&self, stretches: &[usize]) -> f64 {
        f64::from(self.bytes(stretches)) / f64::from(self.letters.max(1))
    }

    /// The letters of these stretches by script.
    pub(super) fn scripts(&self, stretches: &[usize]) -> Scripts {
        stretches.iter().map(|&i| self.stretches[i].scripts).sum()
    }

    /// The text of these stretches, in which letters of other scripts are replaced by spaces.
    pub(super) fn text(&self, script: Script, stretches: &[usize]) -> Cow<'a, str> {
        let is_pure =
            |i: usize| self.stretches[i].letters == self.stretches[i].scripts.bytes(script);

        // Most texts have one script, and nothing is copied.
        if let [first, .., last] | [first @ last] = *stretches
            && last - first + 1 == stretches.len()
            && stretches.iter().all(|&i| is_pure(i))
        {
            let place = self.stretches[first].place.start..self.stretches[last].place.end;
            return Cow::Borrowed(&self.text[place]);
        }

        let mut text = String::with_capacity(SAMPLE_BYTES);
        let mut blocks = Blocks::new(self.others);
        for &i in stretches {
            let own = &self.text[self.stretches[i].place.clone()];
            if is_pure(i) {
                text.push_str(own);
                continue;
            }
            text.extend(own.chars().map(|c| match blocks.script(c) {
                found if found == Script::None || found == script => c,
                Script::Kana if script == Script::Han => c,
                _ => ' ',
            }));
        }
        Cow::Owned(text)
    }
}

/// Appends a stretch, in which each run of white space is one space and the end is a space, and
/// counts the letters.
fn push_words(stretch: &str, scratch: &mut String, blocks: &mut Blocks) -> Scripts {
    let (mut scripts, mut latin) = (Scripts::default(), 0);

    // The bytes between `from` and here go into the sample unchanged.
    let (mut from, mut after_space) = (0, true);
    for (at, c) in stretch.char_indices() {
        // Most characters are of the first three kinds.
        if c.is_ascii_alphabetic() {
            latin += 1;
            after_space = false;
        } else if c == ' ' && !after_space {
            after_space = true;
        } else if c.is_ascii_graphic() {
            after_space = false;
        } else if is_space(c) {
            scratch.push_str(&stretch[from..at]);
            if !after_space {
                scratch.push(' ');
            }
            (from, after_space) = (at + c.len_utf8(), true);
        } else {
            scripts.add(blocks.script(c), c.len_utf8());
            after_space = false;
        }
    }

    scratch.push_str(&stretch[from..]);
    if !after_space {
        scratch.push(' ');
    }
    scripts.add(Script::Latin, latin);
    scripts
}

/// True for white space as Unicode has it, control characters, and the space without width, which
/// Unicode calls a format character.
fn is_space(c: char) -> bool {
    c.is_whitespace() || c.is_control() || c == '\u{200b}'
}

/// The places of the stretches in a text, in ascending order and without overlap.
fn places(text: &str) -> Vec<Range<usize>> {
    let len = text.len();
    if len <= SAMPLE_BYTES {
        let n = (len / STRETCH_BYTES).max(1);
        let mut start = 0;
        return (1..=n)
            .map(|i| {
                let end = match i == n {
                    true => len,
                    false => word_end(text, len * i / n),
                };
                std::mem::replace(&mut start, end)..end
            })
            .collect();
    }

    // (i + 1/2 + i·φ) in units of 2^-16, of which the fraction is kept.
    const GOLDEN: usize = 40_503;
    (0..STRETCHES)
        .map(|i| {
            let (start, end) = (len * i / STRETCHES, len * (i + 1) / STRETCHES);
            let spare = (end - start).saturating_sub(STRETCH_BYTES) as u64;
            let fraction = ((i * GOLDEN + (1 << 15)) % (1 << 16)) as u64;
            let start = start + ((u128::from(spare) * u128::from(fraction)) >> 16) as usize;
            whole_words(text, start..start + STRETCH_BYTES)
        })
        .collect()
}

/// The place of the last white space within [`CUT_BYTES`] before `end`. Without white space there,
/// the last character bound at or before `end`.
fn word_end(text: &str, end: usize) -> usize {
    let end = text.floor_char_boundary(end);
    let start = text
        .ceil_char_boundary(end.saturating_sub(CUT_BYTES))
        .min(end);
    text[start..end]
        .rfind(is_space)
        .map_or(end, |at| start + at)
}

/// The place of the words that lie wholly in `place`. An end without white space within
/// [`CUT_BYTES`] stays where it is, at a character bound.
fn whole_words(text: &str, place: Range<usize>) -> Range<usize> {
    let start = text.ceil_char_boundary(place.start);
    let end = text.floor_char_boundary(place.end);

    // Nothing is cut at the end of the text itself.
    let last = match end == text.len() {
        true => end,
        false => word_end(text, end),
    };
    let near = text.floor_char_boundary(start + CUT_BYTES);
    let first = match start {
        0 => 0,
        _ => text[start..near]
            .find(is_space)
            .map_or(start, |at| start + at),
    };
    first..last
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_text_is_sampled_everywhere() {
        let words = "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen";
        let text: String = words
            .split(' ')
            .flat_map(|word| [word, " "].repeat(4_000 / (word.len() + 1)))
            .collect();

        let (mut scratch, mut bytes) = (String::new(), 0);
        let sample = Sample::of(&text, Script::None, &mut scratch);
        for (i, word) in words.split(' ').enumerate() {
            let stretch = sample.text(Script::Latin, &[i]);
            let most = stretch.split_whitespace().filter(|found| *found == word);
            assert!(
                most.count() * 2 > stretch.split_whitespace().count(),
                "{stretch}"
            );
            bytes += stretch.len();
        }
        assert!(
            (SAMPLE_BYTES * 3 / 4..=SAMPLE_BYTES).contains(&bytes),
            "{bytes}"
        );
    }

    #[test]
    fn stretches_are_in_order_and_never_too_many() {
        for text in [
            "日本語文".repeat(90_000),
            "x".repeat(1 << 20),
            format!("a{}", "😀".repeat(9_999)),
            "some words here ".repeat(129),
            "\u{a0}".repeat(SAMPLE_BYTES),
            " ".repeat(SAMPLE_BYTES + 1),
        ] {
            let places = places(&text);
            assert_eq!(places.len(), STRETCHES);
            assert!(places.is_sorted_by(|a, b| a.end <= b.start));
            assert!(places.iter().all(|place| place.start <= place.end));

            let read: usize = places.iter().map(Range::len).sum();
            assert!(read <= SAMPLE_BYTES, "{read}");
            assert!(read > SAMPLE_BYTES / 2 || text.trim().is_empty(), "{read}");
        }
    }

    #[test]
    fn a_short_text_is_read_whole() {
        for text in [
            "",
            "a",
            "é",
            "日本",
            "one two",
            &"日本語文".repeat(99),
            &"some words here ".repeat(100),
            &"x".repeat(SAMPLE_BYTES),
            &"\u{3000}".repeat(99),
        ] {
            let places = places(text);
            let read: Vec<&str> = places.into_iter().map(|place| &text[place]).collect();
            assert_eq!(read.concat(), text);
        }
    }

    #[test]
    fn the_engine_reads_letters_of_one_script() {
        let mut scratch = String::new();
        let sample = Sample::of(
            "мы читаем\u{a0}\tabc книгу, 2nd",
            Script::None,
            &mut scratch,
        );
        assert_eq!(
            sample.text(Script::Cyrillic, &[0]),
            "мы читаем     книгу, 2   "
        );
        assert_eq!(sample.by_script()[0].0, Script::Cyrillic);
    }
}
