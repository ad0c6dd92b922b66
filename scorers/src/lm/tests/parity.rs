//! Agreement with independent implementations, between formats, and between the loops and the
//! tensor operations.

use super::*;

#[test]
fn parity_with_transformers() {
    for form in ["tied", "untied"] {
        let cases = cases(&format!("tiny_qwen2/{form}/expected.json"));
        let decoder = tiny(form);
        assert_eq!(decoder.config().tie_word_embeddings, Some(form == "tied"));

        let found = decoder.log_probs(&inputs(&cases)).expect("scores");
        let most = difference(&found, &cases);
        assert!(most <= 1e-4, "{form}: {most}");

        let alone: Vec<Vec<f32>> = inputs(&cases)
            .into_iter()
            .flat_map(|input| decoder.log_probs(&[input]).expect("scores"))
            .collect();
        assert!(
            difference(&alone, &cases) <= 1e-4,
            "{form}: {}",
            difference(&alone, &cases)
        );

        eprintln!(
            "{form}: largest difference {most}, one at a time {}",
            difference(&alone, &cases)
        );
    }
}

#[test]
fn parity_of_the_tensor_operations() {
    // The operations of a GPU, run on the CPU, with attention and logits in chunks of one row up to
    // all rows.
    for form in ["tied", "untied"] {
        let cases = cases(&format!("tiny_qwen2/{form}/expected.json"));
        for chunk_bytes in [1 << 12, 1 << 20, 1 << 28] {
            let mut source =
                SafeTensors::from_dir(&fixtures().join("tiny_qwen2").join(form)).expect("weights");
            let options = Options {
                chunk_bytes,
                ..Options::cpu(512)
            };
            let decoder = Decoder::load(tiny_config(form, "config.json"), &mut source, options)
                .expect("a model");

            let found = decoder
                .by_tensors()
                .log_probs(&inputs(&cases[..9]))
                .expect("scores");
            let most = difference(&found, &cases[..9]);
            assert!(most <= 1e-4, "{form}, {chunk_bytes} bytes: {most}");
        }
    }
}

#[test]
fn parity_of_the_embedded_model() {
    let cases = cases("embedded/expected.json");
    let (description, decoder) = embedded();
    assert_eq!(description.bos, Some(0));

    let most = difference(&decoder.log_probs(&inputs(&cases)).expect("scores"), &cases);
    assert!(most <= 1e-4, "{most}");
    eprintln!("embedded: largest difference {most}");

    // From text, in the same way as a run: tokens, beginning of sequence, window, batch. The
    // reference reads the name of a special token as that token, a run reads it as text.
    let windowing = description.windowing(WindowKind::Start);
    let scorer = description.scorer(decoder, WindowKind::Start, 1024);

    let plain: Vec<&Case> = cases
        .iter()
        .filter(|case| !case.text.contains("<|"))
        .collect();
    assert!(plain.len() >= 5);

    let documents: Vec<Vec<u32>> = plain
        .iter()
        .map(|case| {
            description
                .tokenizer
                .encode(&case.text, windowing.tokens_needed())
                .expect("tokens")
        })
        .collect();
    let (scores, _) = scorer.score(&documents).expect("scores");

    for ((case, document), score) in plain.iter().zip(&documents).zip(scores) {
        assert_eq!(document, &case.ids[1..], "{}", case.text);

        let expected: f64 = case.log_probs.iter().map(|&p| -f64::from(p)).sum();
        assert_eq!(score.n_scored as usize, case.log_probs.len());
        assert!((score.sum_nll - expected).abs() <= 1e-4 * score.n_scored as f64);
        if document.len() < 255 && case.text.is_ascii() {
            assert_eq!(score.bytes_scored as usize, case.text.len());
        }
    }
}

#[test]
fn both_forms_of_config_json() {
    for form in ["tied", "untied"] {
        assert_eq!(
            tiny_config(form, "config.json"),
            tiny_config(form, "config.hf_raw.json")
        );
    }
}

#[test]
fn gguf_of_the_embedded_model() {
    // The weights are f16, so a file in f16 is exact. Q8_0 has eight bits and a scale for 32
    // values. Measured for Q8_0: at most 0.157 nats on a token and 0.0090 on a document's mean. The
    // bounds are about one and a half times as wide.
    let cases = cases("embedded/expected.json");

    for (dtype, token, mean) in [(GgmlDType::F16, 1e-4, 1e-5), (GgmlDType::Q8_0, 0.25, 0.014)] {
        let model = open_gguf(embedded_gguf(dtype, &[])).expect("a model");
        assert_eq!(model.description.bos, Some(0));
        let (description, decoder) = model.load(Options::cpu(256)).expect("weights");
        assert_eq!(description.config.tie_word_embeddings, Some(true));

        let found = decoder.log_probs(&inputs(&cases)).expect("scores");
        let most = difference(&found, &cases);

        let sum = |log_probs: &[f32]| {
            log_probs.iter().map(|&p| f64::from(p)).sum::<f64>() / log_probs.len() as f64
        };
        let means = found
            .iter()
            .zip(&cases)
            .map(|(found, case)| (sum(found) - sum(&case.log_probs)).abs());
        let mean_most = means.fold(0.0, f64::max);

        eprintln!("{dtype:?}: largest difference of a token {most}, of a mean {mean_most}");
        assert!(
            most <= token && mean_most <= mean,
            "{dtype:?}: {most}, {mean_most}"
        );

        for case in cases.iter().filter(|case| !case.text.contains("<|")) {
            let ids = description
                .tokenizer
                .encode(&case.text, Some(255))
                .expect("tokens");
            assert_eq!(ids, case.ids[1..], "{}", case.text);
        }
    }
}

#[test]
fn a_llama_without_biases_in_both_formats() {
    // The rows of q and k lie in another order in GGUF, yet the scores are the same.
    struct WithoutBiases(SafeTensors);
    impl TensorSource for WithoutBiases {
        fn names(&self) -> Vec<String> {
            self.0
                .names()
                .into_iter()
                .filter(|name| !name.ends_with("bias"))
                .collect()
        }
        fn shape(&self, name: &str) -> Option<Vec<usize>> {
            self.0.shape(name).filter(|_| !name.ends_with("bias"))
        }
        fn read(&mut self, name: &str) -> Result<Vec<f32>, LmError> {
            self.0.read(name)
        }
    }

    let json = String::from_utf8(read("tiny_qwen2/untied/config.json"))
        .expect("text")
        .replace("qwen2", "llama");
    let config = Config::from_json(json.as_bytes()).expect("valid");
    let tensors = || SafeTensors::from_dir(&fixtures().join("tiny_qwen2/untied")).expect("weights");

    let mut source = WithoutBiases(tensors());
    let file = gguf(
        &mut source,
        &config,
        GgmlDType::F32,
        &read("tiny_qwen2/untied/tokenizer.json"),
        &[],
    );
    let cases = cases("tiny_qwen2/untied/expected.json");
    let plain = Decoder::load(config.clone(), &mut source, Options::cpu(512)).expect("a model");
    let expected = plain.log_probs(&inputs(&cases)).expect("scores");

    let (_, decoder) = open_gguf(file)
        .expect("a model")
        .load(Options::cpu(512))
        .expect("weights");
    assert_eq!(
        decoder.log_probs(&inputs(&cases)).expect("scores"),
        expected
    );

    // A model with biases is not a Llama.
    let error = Decoder::load(config, &mut tensors(), Options::cpu(512))
        .err()
        .expect("biases");
    assert!(
        matches!(&error, LmError::UnexpectedTensor { name } if name.ends_with("k_proj.bias")),
        "{error}"
    );
}

#[test]
fn tokens_see_only_those_before_them() {
    let decoder = tiny("tied");
    let input = |last: u32| {
        let tokens: Vec<u32> = (0..60).chain([last]).collect();
        Input {
            tokens,
            first_scored: 1,
        }
    };

    let (a, b) = (
        decoder.log_probs(&[input(5)]).expect("scores"),
        decoder.log_probs(&[input(900)]).expect("scores"),
    );

    // Only the last token differs, so only its own probability may.
    assert_eq!(a[0][..59], b[0][..59]);
    assert_ne!(a[0][59], b[0][59]);
}

#[test]
fn loops_and_tensors_agree_on_odd_shapes() {
    let json = r#"{"model_type": "qwen2", "vocab_size": 1511, "hidden_size": 23, "intermediate_size": 1061,
        "num_hidden_layers": 2, "num_attention_heads": 6, "num_key_value_heads": 2, "head_dim": 6,
        "max_position_embeddings": 101}"#;
    let config = Config::from_json(json.as_bytes()).expect("valid");
    let load = |chunk_bytes| {
        let options = Options {
            chunk_bytes,
            ..Options::cpu(101)
        };
        Decoder::load(config.clone(), &mut Random(config.clone()), options).expect("a model")
    };

    // Lengths around the lanes (16), the rows of a tile (6) and of queries (24), and the context.
    let inputs: Vec<Input> = [
        101, 1, 2, 15, 16, 17, 23, 24, 25, 48, 49, 100, 101, 99, 98, 64,
    ]
    .map(|n: u32| Input {
        tokens: (0..n).map(|i| (i * 7919 + n) % 1511).collect(),
        first_scored: 1 + n as usize / 7,
    })
    .to_vec();

    let expected = load(1 << 20)
        .by_tensors()
        .log_probs(&inputs)
        .expect("scores");

    for chunk_bytes in [1, 1 << 12, 1 << 21] {
        let found = load(chunk_bytes).log_probs(&inputs).expect("scores");
        for (found, expected) in found.iter().zip(&expected) {
            assert_eq!(found.len(), expected.len());
            assert!(
                found
                    .iter()
                    .zip(expected)
                    .all(|(a, b)| (a - b).abs() <= 1e-4),
                "{found:?}, {expected:?}"
            );
        }
    }
}

#[test]
fn the_embedded_model_is_the_one_described() {
    let model = Model::embedded().expect("loads");
    assert_eq!(
        model.digest,
        "d6f0e326ac385460119e08f273f971cadf68477f1c44c72ffef266f2d9dff8d6"
    );
    assert_eq!(
        model.description.tokenizer.digest(),
        Tokenizer::embedded().expect("loads").digest()
    );

    let (description, decoder) = model.load(Options::cpu(256)).expect("weights");
    assert_eq!(
        (
            decoder.config().parameters(),
            description.config.max_positions
        ),
        (3_673_856, 256)
    );
}

#[test]
fn a_special_tokens_name_is_text() {
    let (description, _) = embedded();
    let ids = description
        .tokenizer
        .encode("a <|endoftext|> b", None)
        .expect("tokens");
    assert!(ids.len() > 4 && !ids.contains(&0), "{ids:?}");
}

#[test]
fn encoding_a_part_is_the_start_of_encoding_all() {
    let tokenizer = Tokenizer::embedded().expect("loads");
    let text: String = (0..3000)
        .map(|i| format!("Line {i}: some words, and 12{i} more.\n"))
        .collect();

    let all = tokenizer.encode(&text, None).expect("tokens");
    assert_eq!(all.len() as u64, tokenizer.count(&text).expect("tokens"));

    for most in [0, 1, 255, 512, 5000] {
        assert_eq!(
            tokenizer.encode(&text, Some(most)).expect("tokens"),
            all[..most]
        );
    }

    let bytes = tokenizer.token_bytes();
    assert_eq!(
        all.iter()
            .map(|&id| usize::from(bytes[id as usize]))
            .sum::<usize>(),
        text.len()
    );
}

#[test]
fn half_precision() {
    // As on a GPU: cosines, softmax and cross-entropy stay f32. f16 stands for the bf16 of a GPU,
    // because the CPU has no products in bf16. Measured: at most 0.024 nats on a token.
    let cases = cases("embedded/expected.json");

    let options = Options {
        dtype: DType::F16,
        ..Options::cpu(256)
    };
    let (_, decoder) = Model::embedded()
        .expect("the model")
        .load(options)
        .expect("its weights");

    let found = decoder.log_probs(&inputs(&cases)).expect("scores");
    let most = difference(&found, &cases);
    eprintln!("f16: largest difference {most}");
    assert!(most <= 0.05, "{most}");
}
