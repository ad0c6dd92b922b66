//! Texture: four values of a text that need neither a model nor a language. They tell prose from
//! repeats, from shuffled words and from random tokens.
//!
//! [`Texture::novelty`] and [`Texture::order`] ask how well the text predicts itself. A table holds,
//! for each context of [`CONTEXT`] characters, the character that followed it last. It forgets
//! everything after [`BLOCK`] characters, so a value does not depend much on the length of the text.
//! This is the simplest context model of compression, one order and one symbol (Cleary & Witten
//! 1984, "Data compression using adaptive coding and partial string matching").
//!
//! | damage | seen in |
//! |---|---|
//! | lists, tables and generated pages that repeat themselves | `novelty` falls |
//! | random tokens, broken encodings, dumps of identifiers | `odd_words` rises, `order` falls |
//! | shuffled words | `order` and `sentences` fall, `novelty` does not |
//! | lines of menus, a few words in all | `novelty` and `sentences` fall |
//!
//! Each value alone rewards some damage: random text is new everywhere. Use all four.
//!
//! Two different contexts share a slot with a probability of about 2⁻⁸ each. Cost: one look into a
//! table of 256 KiB for each character, no allocation once the table exists.

/// The characters that predict the next one.
const CONTEXT: usize = 4;
/// The characters after which the table forgets.
const BLOCK: usize = 1 << 15;
/// The characters below which a text counts as short: its novelty falls in proportion.
const SHORT: usize = 1 << 10;
/// The predictions that [`Texture::order`] needs.
const LEAST_PREDICTIONS: u32 = 8;
/// The number of slots, as a power of two.
const SLOT_BITS: u32 = 16;

/// The values of a text.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Texture {
    /// Share of the characters whose four predecessors stand together for the first time in the
    /// block, in \[0, 1\]. In a text of n < 1,024 characters it is multiplied by n / 1,024. 0 for
    /// a text of up to four characters.
    pub novelty: f64,
    /// Share of the first characters of words that are the same as after the last occurrence of
    /// their four predecessors, among those whose predecessors occurred, in \[0, 1\]. A word is
    /// here what follows white space. `None` with fewer than 8 of them, as in scripts without
    /// spaces.
    pub order: Option<f64>,
    /// Words that begin a sentence per word, in \[0, 1\]: words after a terminal mark and white
    /// space that do not begin in lower case or with a digit. The marks of CJK need no white space.
    pub sentences: f64,
    /// Share of words with a capital after a small letter, with letters and digits, or with U+FFFD,
    /// in \[0, 1\].
    pub odd_words: f64,
}

/// Memory that is kept from one text to the next.
#[derive(Debug)]
pub struct TextureScratch {
    /// The followers of contexts: 16 bits of block, 8 bits of the context, 8 bits of the follower.
    followers: Box<[u32]>,
    /// The number of the current block, from 1. No slot of another block has it.
    block: u32,
}

impl Default for TextureScratch {
    fn default() -> Self {
        TextureScratch {
            followers: vec![0; 1 << SLOT_BITS].into(),
            block: 0,
        }
    }
}

impl TextureScratch {
    /// Forgets all contexts.
    fn forget(&mut self) {
        self.block += 1;
        if self.block == 1 << 16 {
            self.followers.fill(0);
            self.block = 1;
        }
    }
}

/// The values of `text`.
///
/// ```
/// # use curate_scorers::texture::{TextureScratch, texture};
/// let values = texture("A heron waits. Nobody knows why.", &mut TextureScratch::default());
/// assert_eq!(values.sentences, 1.0 / 6.0);
/// assert_eq!((values.odd_words, values.order), (0.0, None));
/// ```
pub fn texture(text: &str, scratch: &mut TextureScratch) -> Texture {
    let mut contexts = Contexts::default();
    let mut words = Words::default();

    let mut at_block = 0;
    for character in text.chars() {
        if at_block == 0 {
            scratch.forget();
            contexts.recent = 0;
        }
        let kind = Kind::of(character);
        if at_block >= CONTEXT {
            contexts.look(scratch, character, words.last == Kind::Space);
        }
        contexts.recent = contexts.recent << 16 | u64::from(character as u16);
        words.add(kind);
        at_block = (at_block + 1) % BLOCK;
    }
    words.end();

    let chars = contexts.looks as usize + CONTEXT;
    let shortness = (chars as f64 / SHORT as f64).min(1.0);
    Texture {
        novelty: share(contexts.looks - contexts.seen, contexts.looks) * shortness,
        order: (contexts.starts_seen >= LEAST_PREDICTIONS)
            .then(|| share(contexts.starts_right, contexts.starts_seen)),
        sentences: share(words.sentences, words.words),
        odd_words: share(words.odd, words.words),
    }
}

/// `part / whole`; 0 if `whole` is 0.
fn share(part: u32, whole: u32) -> f64 {
    if whole == 0 {
        return 0.0;
    }
    f64::from(part) / f64::from(whole)
}

/// What the table said so far.
#[derive(Default)]
struct Contexts {
    /// The last four characters, 16 bits each.
    recent: u64,
    /// Characters that were looked up.
    looks: u32,
    /// Those whose context had occurred.
    seen: u32,
    /// Those that begin a word.
    starts_seen: u32,
    /// Those that begin a word and were predicted.
    starts_right: u32,
}

impl Contexts {
    /// Looks up a character after [`Self::recent`], and notes it.
    #[inline]
    fn look(&mut self, scratch: &mut TextureScratch, character: char, is_start: bool) {
        let mixed = self.recent.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mixed = mixed ^ mixed >> 32;
        let mixed = mixed.wrapping_mul(0xd6e8_feb8_6659_fd93);
        let slot = (mixed >> (u64::BITS - SLOT_BITS)) as usize;
        let key = scratch.block << 16 | (mixed as u32 >> 8 & 0xff) << 8;
        let follower = (character as u32 ^ character as u32 >> 8) & 0xff;

        let found = scratch.followers[slot];
        scratch.followers[slot] = key | follower;

        // Without branches: half of the contexts are new, in no order that a processor could learn.
        let seen = u32::from(found & !0xff == key);
        let right = u32::from(found == key | follower);
        let start = u32::from(is_start);
        self.looks += 1;
        self.seen += seen;
        self.starts_seen += seen & start;
        self.starts_right += right & start;
    }
}

/// What a character is to words and sentences.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Kind {
    /// White space. Also the start of the text.
    #[default]
    Space,
    /// A letter in lower case.
    Lower,
    /// A letter in upper or title case.
    Upper,
    /// A letter of a script without case.
    Letter,
    /// A number.
    Digit,
    /// A terminal mark that white space must follow.
    Stop,
    /// A terminal mark of CJK.
    FullStop,
    /// A comma, which ends what a terminal mark began.
    Comma,
    /// U+FFFD, which stands for bytes that were no text.
    Broken,
    /// Anything else.
    Other,
}

/// The kinds of ASCII characters.
const ASCII: [Kind; 128] = {
    let mut kinds = [Kind::Other; 128];
    let mut at = 0;
    while at < 128 {
        kinds[at] = match at as u8 {
            b' ' | b'\t'..=b'\r' => Kind::Space,
            b'a'..=b'z' => Kind::Lower,
            b'A'..=b'Z' => Kind::Upper,
            b'0'..=b'9' => Kind::Digit,
            b'.' | b'!' | b'?' => Kind::Stop,
            b',' => Kind::Comma,
            _ => Kind::Other,
        };
        at += 1;
    }
    kinds
};

impl Kind {
    #[inline]
    fn of(character: char) -> Kind {
        match ASCII.get(character as usize) {
            Some(&kind) => kind,
            None => Kind::beyond_ascii(character),
        }
    }

    fn beyond_ascii(character: char) -> Kind {
        match character {
            '\u{fffd}' => Kind::Broken,
            '。' | '！' | '？' | '．' | '｡' => Kind::FullStop,
            '…' | '؟' | '۔' | '।' | '॥' | '։' | '።' | '။' => Kind::Stop,
            '，' | '、' | '،' => Kind::Comma,
            _ if character.is_lowercase() => Kind::Lower,
            _ if character.is_uppercase() => Kind::Upper,
            _ if character.is_alphabetic() => Kind::Letter,
            _ if character.is_numeric() => Kind::Digit,
            _ if character.is_whitespace() => Kind::Space,
            _ => Kind::Other,
        }
    }

    /// True if words are made of such characters.
    #[inline]
    fn is_of_word(self) -> bool {
        use Kind::{Broken, Digit, Letter, Lower, Upper};
        matches!(self, Lower | Upper | Letter | Digit | Broken)
    }
}

/// How much of the end of a sentence was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum End {
    /// Nothing.
    #[default]
    None,
    /// A terminal mark.
    Mark,
    /// A terminal mark and white space.
    Whole,
}

/// Words and sentences so far.
#[derive(Default)]
struct Words {
    /// The kind of the last character.
    last: Kind,
    /// True if the last character is of a word.
    is_open: bool,
    /// True if the open word is odd.
    is_odd: bool,
    end: End,
    words: u32,
    odd: u32,
    sentences: u32,
}

impl Words {
    /// Reads the next character.
    #[inline]
    fn add(&mut self, kind: Kind) {
        // Most characters: a small letter after another letter changes nothing.
        if kind == Kind::Lower && matches!(self.last, Kind::Lower | Kind::Upper) {
            self.last = kind;
            return;
        }

        if kind.is_of_word() {
            if !self.is_open {
                let may_begin = !matches!(kind, Kind::Lower | Kind::Digit);
                self.words += 1;
                self.sentences += u32::from(may_begin && self.end == End::Whole);
                (self.is_open, self.is_odd, self.end) = (true, false, End::None);
            } else {
                let digits = (kind == Kind::Digit) != (self.last == Kind::Digit);
                self.is_odd |= digits || (kind == Kind::Upper && self.last == Kind::Lower);
            }
            self.is_odd |= kind == Kind::Broken;
        } else {
            self.close();
            self.end = match (kind, self.end) {
                (Kind::Stop, _) => End::Mark,
                (Kind::FullStop, _) | (Kind::Space, End::Mark) => End::Whole,
                (Kind::Comma, _) => End::None,
                (_, end) => end,
            };
        }
        self.last = kind;
    }

    /// Closes the open word, if there is one.
    #[inline]
    fn close(&mut self) {
        self.odd += u32::from(self.is_open && self.is_odd);
        self.is_open = false;
    }

    /// Ends the text.
    fn end(&mut self) {
        self.close();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Texture {
        texture(text, &mut TextureScratch::default())
    }

    /// A generator of numbers, for damage (splitmix64).
    struct Numbers(u64);

    impl Numbers {
        fn below(&mut self, end: usize) -> usize {
            self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            ((mixed ^ mixed >> 27) >> 11) as usize % end
        }
    }

    /// Sentences of a small grammar: function words return, names and numbers vary.
    fn prose() -> String {
        let (who, what) = (
            [
                "the keeper",
                "an old boat",
                "the harbour",
                "her brother",
                "the letter",
            ],
            [
                "waits for",
                "belongs to",
                "was painted by",
                "came back with",
                "lies behind",
            ],
        );
        let mut numbers = Numbers(1);
        let mut text = String::new();
        for sentence in 0..400 {
            let mut pick = |of: &[&'static str; 5]| of[numbers.below(5)];
            let (a, b, c) = (pick(&who), pick(&what), pick(&who));
            text += &format!("In the end {a} {b} {c}, and nobody asks why. ");
            if sentence % 5 == 4 {
                text += "\n\n";
            }
        }
        text
    }

    fn shuffled(text: &str) -> String {
        let mut words: Vec<&str> = text.split_whitespace().collect();
        let mut numbers = Numbers(2);
        for at in (1..words.len()).rev() {
            words.swap(at, numbers.below(at + 1));
        }
        words.join(" ")
    }

    /// Each word is replaced with a probability of `percent` by pieces of words.
    fn noisy(text: &str, percent: usize) -> String {
        let pieces = [
            "Xml", "ing", "7b", "er", "QU", "\u{fffd}", "stra", "0f", "Li", "wn",
        ];
        let mut numbers = Numbers(3);
        let mut word = |word: &str| match numbers.below(100) < percent {
            true => (0..3).map(|_| pieces[numbers.below(10)]).collect(),
            false => word.to_owned(),
        };
        text.split(' ').map(&mut word).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn texts_without_words() {
        let nothing = Texture {
            novelty: 0.0,
            order: None,
            sentences: 0.0,
            odd_words: 0.0,
        };
        for text in ["", " ", "\n", "\u{3000}\t\r\n", "..."] {
            assert_eq!(of(text), nothing, "{text:?}");
        }
        // One word of four letters has no character with four predecessors.
        assert_eq!(of("word"), nothing);
        assert_eq!(of("words").novelty, 5.0 / 1024.0);
        let blank = of(&" ".repeat(5000));
        assert!(blank.novelty < 0.001 && blank.sentences == 0.0);
    }

    #[test]
    fn sentences_by_hand() {
        let of_six = |text: &str| (of(text).sentences * 6.0).round() as u32;
        assert_eq!(of_six("One two. Three four. five six"), 1);
        assert_eq!(of_six("One two.\nThree (four)? \"Five\" six"), 2);
        assert_eq!(of_six("one 3.14 e.g. X, Y. 5"), 1);
        assert_eq!(of_six("A, b. , C d e f"), 0);
        // Scripts without case, from left to right and from right to left.
        assert_eq!(of("你好。世界！再见").sentences, 2.0 / 3.0);
        assert_eq!(of("ذهب الولد. عاد الولد؟ نعم").sentences, 2.0 / 5.0);
        assert_eq!(of("वह गया। वह आया।").odd_words, 0.0);
    }

    #[test]
    fn odd_words_by_hand() {
        assert_eq!(of("plain Word ALL 42 été Straße").odd_words, 0.0);
        assert_eq!(
            of("camelCase x2 2x \u{fffd} a\u{fffd}b plain").odd_words,
            5.0 / 6.0
        );
        // A combining mark is no letter; the word goes on behind it without being odd.
        assert_eq!(of("cafe\u{301} nai\u{308}ve").odd_words, 0.0);
        assert_eq!(of("שלום עולם").odd_words, 0.0);
    }

    #[test]
    fn order_is_of_words_after_known_characters() {
        // From the third line on, both words of a line are predicted; before, none is asked for.
        let order = of(&"red boat\n".repeat(9)).order;
        assert_eq!(order, Some(1.0));
        assert_eq!(of("red boat\nred boat\n").order, None);
        assert_eq!(of(&"漢字かな".repeat(50)).order, None);
    }

    #[test]
    fn repeats_are_not_new() {
        let line = "The same line comes again and again.\n";
        assert!(of(&line.repeat(100)).novelty < 0.05);
        assert!(of(&noisy(&prose(), 100)).novelty > 2.0 * of(&prose()).novelty);
    }

    #[test]
    fn damage_shows() {
        let clean = of(&prose());
        let mixed = of(&shuffled(&prose()));
        assert!(mixed.order < clean.order && mixed.sentences < clean.sentences / 2.0);
        assert!(mixed.novelty > clean.novelty);

        let mut before = clean;
        for percent in [10, 30, 60] {
            let noise = of(&noisy(&prose(), percent));
            assert!(noise.odd_words > before.odd_words);
            assert!(noise.order < before.order && noise.sentences < before.sentences);
            before = noise;
        }
    }

    #[test]
    fn long_lines_and_reused_memory() {
        let line: String = prose().replace('\n', " ").repeat(20);
        assert!(line.len() > 400_000);
        let long = of(&line.repeat(3));
        assert!(long.order > Some(0.3) && long.novelty < 0.2);
        // The table forgets, so a block that returns is new again.
        let random = |seed| -> String {
            let mut numbers = Numbers(seed);
            (0..BLOCK)
                .map(|_| (b'a' + numbers.below(26) as u8) as char)
                .collect()
        };
        let once = random(5);
        let twice = of(&once.repeat(2)).novelty - of(&once).novelty;
        assert!(twice.abs() < 1e-3, "{twice}");

        // More texts than there are block numbers.
        let mut scratch = TextureScratch::default();
        let first = texture(&prose(), &mut scratch);
        for _ in 0..1 << 16 {
            texture("ab", &mut scratch);
        }
        assert_eq!(texture(&prose(), &mut scratch), first);
    }
}
