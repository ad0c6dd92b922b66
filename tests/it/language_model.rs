//! `[language] engine = "fasttext"`: the labels of a model in a run, its digest in the key, and
//! models and manifests that do not fit.

use std::fs;

use crate::support::{Outcome, Place, commit, query, repository, run};

const TEXTS: [(&str, &str); 5] = [
    (
        "eng",
        "The train did not stop at this station, and nobody wanted to cross the old bridge.",
    ),
    (
        "deu",
        "Der Zug hielt nicht an diesem Bahnhof, und niemand wollte über die alte Brücke gehen.",
    ),
    (
        "fra",
        "Le train ne s'arrêtait pas dans cette gare, et personne ne voulait passer le vieux pont.",
    ),
    (
        "ukr",
        "Поїзд не зупинився на цій станції, і ніхто не хотів переходити старий міст.",
    ),
    (
        "lao",
        "ສະບາຍດີ ຂອບໃຈ ຂ້ອຍຮັກເຈົ້າ ພາສາລາວ ປະເທດລາວ ເຂົ້າໜຽວ ນ້ຳ ປາ ໄກ່",
    ),
];

/// A corpus of a text in each language of the tiny models, and these models.
fn place() -> Place {
    let place = Place::new();
    let lines = TEXTS.map(|(id, text)| format!("{{\"id\": \"{id}\", \"text\": \"{text}\"}}\n"));
    place.write("texts.jsonl", lines.concat());
    for name in ["languages.ftz", "languages.bin", "quality.bin"] {
        let model = repository().join("fixtures/fasttext").join(name);
        place.write(name, fs::read(model).unwrap());
    }
    place
}

/// A run up to `language` with these keys in `[language]`.
fn language(place: &Place, dir: &str, keys: &str) -> Outcome {
    let manifest = format!(
        "[run]\nname = \"m\"\n[[source]]\nname = \"s\"\npath = \"texts.jsonl\"\nid = \"id\"\n\
         [language]\n{keys}\n"
    );
    let manifest = place.write("m.toml", manifest);
    run(&manifest, &place.path(dir), &["--until", "language"])
}

#[test]
fn labels_of_a_model_become_languages() {
    let place = place();
    let keys = |model: &str| {
        format!("engine = \"fasttext\"\nmodel = \"{model}\"\nkeep = [\"eng\", \"de\", \"lao\"]")
    };
    for model in ["languages.ftz", "languages.bin"] {
        let dir = format!("run-{model}");
        language(&place, &dir, &keys(model)).exits(0);
        let labels = "SELECT source_id, language, removed_by, confidence > 0.5, share, mixed
            FROM language JOIN documents USING (doc_id) ORDER BY ALL";
        assert_eq!(
            query(&place.path(&dir), labels),
            [
                "deu|deu|None|True|1.0|False",
                "eng|eng|None|True|1.0|False",
                "fra|fra|language.not_kept|True|1.0|False",
                "lao|lao|None|True|1.0|False",
                "ukr|ukr|language.not_kept|True|1.0|False",
            ]
        );
    }
}

#[test]
fn the_model_and_not_its_path_is_in_the_key() {
    let place = place();
    let key = |model: &str| {
        let keys = format!("engine = \"fasttext\"\nmodel = \"{model}\"");
        language(&place, "run", &keys).exits(0);
        commit(&place.path("run"), "language")["key"].clone()
    };

    let first = key("languages.ftz");
    fs::copy(place.path("languages.ftz"), place.path("copy.ftz")).unwrap();
    assert_eq!(key("copy.ftz"), first);
    assert_ne!(key("languages.bin"), first);
}

#[test]
fn a_model_that_does_not_fit_is_named() {
    let place = place();
    let model = fs::read(place.path("languages.ftz")).unwrap();
    place.write("short.ftz", &model[..model.len() / 2]);
    place.write("text.ftz", "no model");

    let cases = [
        ("engine = \"fasttext\"", "needs language.model"),
        (
            "model = \"languages.ftz\"",
            "language.engine = \"whatlang\" has no model",
        ),
        (
            "engine = \"fasttext\"\nmodel = \"absent.ftz\"",
            "language.model: cannot read ",
        ),
        (
            "engine = \"fasttext\"\nmodel = \".\"",
            "it is not a regular file",
        ),
        (
            "engine = \"fasttext\"\nmodel = \"short.ftz\"",
            "short.ftz, byte ",
        ),
        (
            "engine = \"fasttext\"\nmodel = \"text.ftz\"",
            "byte 0: the first bytes are not those of a fastText model",
        ),
        (
            "engine = \"fasttext\"\nmodel = \"quality.bin\"",
            "none of its labels is a language",
        ),
        (
            "engine = \"fasttext\"\nmodel = \"languages.ftz\"\nkeep = [\"swa\"]",
            "languages.ftz has no label for the language \"swa\"",
        ),
    ];
    for (keys, expected) in cases {
        language(&place, "run", keys).exits(2).says(&[expected]);
    }
    assert!(!place.path("run/documents").exists());
}
