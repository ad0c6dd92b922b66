//! Sentences as datatrove 0.10 counts them in English: spaCy 3.8's `sentencizer` over the tokens of
//! [`words::spacy`].
//!
//! A sentence ends with a token that is one of the sentencizer's marks, together with the marks and
//! the punctuation after it. A token of white space starts a sentence as a word does, so `"a.\n"`
//! has two sentences. A text without tokens has one, as in datatrove. Cost: one pass over the
//! words.
//!
//! [`words::spacy`]: crate::words::spacy

use crate::words::spacy::{self, Gap, PUNCT, SENTENCE_END};

/// The number of sentences of `text`, at least 1. `words` are the words of `text` that
/// [`spacy::words`] gives: subslices of `text`, or of a larger text with `text` in it.
///
/// ```
/// use curate_scorers::{rules::sentences::count_sentences, words::spacy};
/// let text = "It works (e.g. here). It does? \"Yes!\"";
/// let mut words = Vec::new();
/// spacy::words(text, &mut words);
/// assert_eq!(count_sentences(text, &words), 3);
/// ```
pub fn count_sentences(text: &str, words: &[&str]) -> u32 {
    let mut count = 1;
    let mut ended = false;

    for (i, word) in words.iter().enumerate() {
        // `ended` is false before the first word, so a word precedes.
        if ended && spacy::gap(text, words[i - 1], word) == Gap::Token {
            count += 1;
            ended = false;
        }

        if is_end(word) {
            ended = true;
        } else if ended && !is_punct(word) {
            count += 1;
            ended = false;
        }
    }

    // spaCy attaches one space to the word before it. Other white space is a token of its own.
    let rest = words
        .last()
        .map_or("", |word| &text[spacy::offset(text, word) + word.len()..]);
    count + u32::from(ended && !matches!(rest, "" | " "))
}

/// True if `word` is a mark that ends a sentence.
fn is_end(word: &str) -> bool {
    let mut chars = word.chars();
    chars.next().is_some_and(|c| spacy::is(c, SENTENCE_END)) && chars.next().is_none()
}

/// True if `word` consists of punctuation.
fn is_punct(word: &str) -> bool {
    word.chars().all(|c| spacy::is(c, PUNCT))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(text: &str) -> u32 {
        let mut words = Vec::new();
        spacy::words(text, &mut words);
        count_sentences(text, &words)
    }

    #[test]
    fn a_sentence_starts_at_the_first_word_after_a_mark() {
        assert_eq!(count("One. Two! Three? Four"), 4);
        assert_eq!(count("One?! (\"Two.\") Three."), 3);
        // A full stop inside a word ends nothing, nor do an ellipsis and a colon.
        assert_eq!(count("Mr. Li, e.g. 3.5... and: so"), 1);
        assert_eq!(count("नमस्ते। ok。好 ‽ ok"), 3);
        // A symbol is no punctuation.
        assert_eq!(count("It. $ It. + So"), 3);
    }

    #[test]
    fn white_space_of_its_own_starts_a_sentence() {
        assert_eq!(count("It. ) . so"), 2);
        assert_eq!(count("It.  ) . so"), 3);
        assert_eq!(count("It.\n) so. \n"), 3);
        assert_eq!(count("It so. "), 1);
        assert_eq!(count("It so.\n"), 2);
        assert_eq!(count("It so.  "), 2);
        assert_eq!(count("It so.\u{a0}"), 2);
        assert_eq!(count(" It. \u{2028}It"), 2);
    }

    #[test]
    fn a_text_without_words_is_one() {
        assert_eq!(count(""), 1);
        assert_eq!(count(" \n\u{3000}"), 1);
    }

    #[test]
    fn words_may_be_of_a_bigger_text() {
        let text = "One. Two\nThree.\n\nFour";
        let mut words = Vec::new();
        spacy::words(text, &mut words);
        assert_eq!(words[3..5], ["Three", "."]);
        assert_eq!(count_sentences(&text[9..15], &words[3..5]), 1);
        assert_eq!(count_sentences(&text[9..16], &words[3..5]), 2);
    }
}
