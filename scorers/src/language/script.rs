//! The scripts of a text: the bytes of the letters of each, and the language if the script alone
//! tells it.

use std::ops::RangeInclusive;

/// A script of the languages known here. `Other` stands for the letters of all other scripts, and
/// `None` for all other characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Script {
    None,
    Latin,
    Cyrillic,
    Arabic,
    Devanagari,
    Hebrew,
    Han,
    Kana,
    Hangul,
    Greek,
    Armenian,
    Bengali,
    Gurmukhi,
    Gujarati,
    Oriya,
    Tamil,
    Telugu,
    Kannada,
    Malayalam,
    Sinhala,
    Thai,
    Myanmar,
    Georgian,
    Ethiopic,
    Khmer,
    Other,
}

/// All scripts in the order of [`Script`], with the ISO 639-3 code of the language if a script has
/// only one.
#[rustfmt::skip]
const SCRIPTS: [(Script, Option<&str>); 26] = {
    use Script::*;
    [
        (None, Option::None), (Latin, Option::None), (Cyrillic, Option::None), (Arabic, Option::None),
        (Devanagari, Option::None), (Hebrew, Option::None), (Han, Option::None), (Kana, Option::None),
        (Hangul, Some("kor")), (Greek, Some("ell")), (Armenian, Some("hye")), (Bengali, Some("ben")),
        (Gurmukhi, Some("pan")), (Gujarati, Some("guj")), (Oriya, Some("ori")), (Tamil, Some("tam")),
        (Telugu, Some("tel")), (Kannada, Some("kan")), (Malayalam, Some("mal")), (Sinhala, Some("sin")),
        (Thai, Some("tha")), (Myanmar, Some("mya")), (Georgian, Some("kat")), (Ethiopic, Some("amh")),
        (Khmer, Some("khm")), (Other, Option::None),
    ]
};

/// Blocks of letters, in ascending order.
///
/// Unlike `whatlang`, this table does not count the punctuation of Latin-1 as Latin, nor full-width
/// forms and enclosed characters as Hangul. It also knows polytonic Greek and the later Han
/// extensions.
#[rustfmt::skip]
const BLOCKS: &[(RangeInclusive<u32>, Script)] = {
    use Script::*;
    &[
        (0x41..=0x5a, Latin), (0x61..=0x7a, Latin), (0xc0..=0xd6, Latin), (0xd8..=0xf6, Latin), (0xf8..=0x2af, Latin),
        (0x370..=0x3ff, Greek), (0x400..=0x52f, Cyrillic), (0x531..=0x587, Armenian), (0x591..=0x5f2, Hebrew),
        (0x610..=0x6ff, Arabic), (0x750..=0x77f, Arabic), (0x8a0..=0x8ff, Arabic), (0x900..=0x97f, Devanagari),
        (0x980..=0x9ff, Bengali), (0xa00..=0xa7f, Gurmukhi), (0xa80..=0xaff, Gujarati), (0xb00..=0xb7f, Oriya),
        (0xb80..=0xbff, Tamil), (0xc00..=0xc7f, Telugu), (0xc80..=0xcff, Kannada), (0xd00..=0xd7f, Malayalam),
        (0xd80..=0xdff, Sinhala), (0xe00..=0xe7f, Thai), (0x1000..=0x109f, Myanmar), (0x10a0..=0x10ff, Georgian),
        (0x1100..=0x11ff, Hangul), (0x1200..=0x139f, Ethiopic), (0x1780..=0x17ff, Khmer), (0x1c90..=0x1cbf, Georgian),
        (0x1e00..=0x1eff, Latin), (0x1f00..=0x1fff, Greek), (0x2c60..=0x2c7f, Latin), (0x2d00..=0x2d2f, Georgian),
        (0x2d80..=0x2ddf, Ethiopic), (0x2e80..=0x2fd5, Han), (0x3005..=0x3007, Han), (0x3021..=0x3029, Han),
        (0x3041..=0x309f, Kana), (0x30a1..=0x30fa, Kana), (0x30fc..=0x30ff, Kana), (0x3131..=0x318e, Hangul),
        (0x31f0..=0x31ff, Kana), (0x3400..=0x4dbf, Han), (0x4e00..=0x9fff, Han), (0xa640..=0xa69f, Cyrillic),
        (0xa722..=0xa7ff, Latin), (0xa8e0..=0xa8ff, Devanagari), (0xa960..=0xa97f, Hangul), (0xaa60..=0xaa7f, Myanmar),
        (0xab00..=0xab2f, Ethiopic), (0xac00..=0xd7ff, Hangul), (0xf900..=0xfaff, Han), (0xfb1d..=0xfb4f, Hebrew),
        (0xfb50..=0xfdff, Arabic), (0xfe70..=0xfefc, Arabic), (0xff66..=0xff9f, Kana), (0xffa0..=0xffdc, Hangul),
        (0x20000..=0x323af, Han),
    ]
};

/// The block of `c` and its script, or `c` alone and [`Script::None`].
fn block_of(c: u32) -> (RangeInclusive<u32>, Script) {
    match BLOCKS.get(BLOCKS.partition_point(|(block, _)| *block.end() < c)) {
        Some(found) if found.0.contains(&c) => found.clone(),
        _ => (c..=c, Script::None),
    }
}

impl Script {
    /// The ISO 639-3 code of the language if this script has only one.
    pub(super) fn language(self) -> Option<&'static str> {
        SCRIPTS[self as usize].1
    }
}

/// The scripts of characters. Neighbours are mostly in one block, so the last block is kept and the
/// search is spared.
pub(super) struct Blocks {
    block: RangeInclusive<u32>,
    script: Script,
    others: Script,
}

impl Blocks {
    /// `others` is what letters of a script without a block count as: [`Script::None`] or
    /// [`Script::Other`].
    pub(super) fn new(others: Script) -> Blocks {
        Blocks {
            block: 0..=0,
            script: Script::None,
            others,
        }
    }

    /// The script of `c`, if it is a letter of one.
    pub(super) fn script(&mut self, c: char) -> Script {
        if c.is_ascii() {
            return match c.is_ascii_alphabetic() {
                true => Script::Latin,
                false => Script::None,
            };
        }

        if !self.block.contains(&(c as u32)) {
            (self.block, self.script) = block_of(c as u32);
            if self.script == Script::None && c.is_alphabetic() {
                self.script = self.others;
            }
        }
        self.script
    }
}

/// The bytes of the letters of each script in a text, indexed by [`Script`].
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Scripts([u32; SCRIPTS.len()]);

impl Scripts {
    /// Adds a letter.
    pub(super) fn add(&mut self, script: Script, bytes: usize) {
        self.0[script as usize] += bytes as u32;
    }

    /// The bytes of the letters of all scripts together.
    pub(super) fn letters(&self) -> u32 {
        // The first count is that of `Script::None`.
        self.0[1..].iter().sum()
    }

    /// The bytes of the letters of a script, where Han stands for Han and kana together.
    pub(super) fn bytes(&self, script: Script) -> u32 {
        match script {
            Script::None | Script::Kana => 0,
            Script::Han => self.0[Script::Han as usize] + self.0[Script::Kana as usize],
            _ => self.0[script as usize],
        }
    }

    /// The script of most of the text, where Han stands for Han and kana together. `None` for a
    /// text without letters.
    pub(super) fn main(&self) -> Option<Script> {
        // A strictly greater count is needed, so the first script of the list wins among equals.
        let mut main = Script::None;
        for (script, _) in SCRIPTS {
            if self.bytes(script) > self.bytes(main) {
                main = script;
            }
        }
        (main != Script::None).then_some(main)
    }

    /// Chinese or Japanese by the share of kana, with the thresholds and confidences of `whatlang`.
    pub(super) fn chinese_or_japanese(&self) -> (&'static str, f64) {
        let kana = f64::from(self.0[Script::Kana as usize]);
        let share = kana / (kana + f64::from(self.0[Script::Han as usize]));

        match share {
            _ if share > 0.2 => ("jpn", 1.0),
            _ if share > 0.05 => ("jpn", 0.5),
            _ if share > 0.02 => ("cmn", 0.5),
            _ => ("cmn", 1.0),
        }
    }
}

impl std::iter::Sum for Scripts {
    fn sum<I: Iterator<Item = Scripts>>(all: I) -> Scripts {
        all.fold(Scripts::default(), |sum, one| {
            Scripts(std::array::from_fn(|script| sum.0[script] + one.0[script]))
        })
    }
}
