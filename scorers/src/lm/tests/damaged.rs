//! Files that are damaged or do not fit: an error that says what is wrong, and no score.

use super::*;

#[test]
fn scores_that_are_no_numbers_are_an_error() {
    struct Huge(Random);
    impl TensorSource for Huge {
        fn names(&self) -> Vec<String> {
            Vec::new()
        }
        fn shape(&self, name: &str) -> Option<Vec<usize>> {
            self.0.shape(name)
        }
        fn read(&mut self, name: &str) -> Result<Vec<f32>, LmError> {
            Ok(self.0.read(name)?.into_iter().map(|x| 1e38 * x).collect())
        }
    }

    // f32 ends at 3.4e38, so the activations overflow.
    let config = tiny_config("tied", "config.json");
    let decoder =
        Decoder::load(config.clone(), &mut Huge(Random(config)), Options::cpu(8)).expect("a model");

    let error = decoder
        .log_probs(&[Input {
            tokens: vec![1, 2, 3],
            first_scored: 1,
        }])
        .expect_err("infinite");
    assert!(matches!(error, LmError::NotFinite { .. }), "{error}");
}

#[test]
fn inputs_that_are_not_the_models() {
    let decoder = tiny("tied");
    let run = |tokens: Vec<u32>| {
        decoder.log_probs(&[Input {
            tokens,
            first_scored: 1,
        }])
    };

    assert!(matches!(
        run(vec![0, 1024]),
        Err(LmError::TokenId {
            id: 1024,
            vocab: 1024
        })
    ));
    assert!(matches!(
        run(vec![0; 513]),
        Err(LmError::TooLong {
            tokens: 513,
            positions: 512
        })
    ));

    for tokens in [vec![], vec![5]] {
        assert!(run(tokens).expect("nothing to score").concat().is_empty());
    }
}

/// A copy of a fixture's directory in which one file is replaced, or removed if `content` is
/// `None`.
fn directory(form: &str, name: &str, content: Option<&[u8]>) -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("a directory");
    for file in ["config.json", "tokenizer.json", "model.safetensors"] {
        std::fs::write(
            dir.path().join(file),
            read(&format!("tiny_qwen2/{form}/{file}")),
        )
        .expect("written");
    }

    match content {
        Some(content) => std::fs::write(dir.path().join(name), content).expect("written"),
        None => std::fs::remove_file(dir.path().join(name)).expect("removed"),
    }
    dir
}

/// Opens and loads the model of a directory.
fn open(dir: &tempfile::TempDir) -> Result<Decoder, LmError> {
    Ok(Model::open(dir.path())?.load(Options::cpu(512))?.1)
}

/// The error for a directory that is changed as by [`directory`].
fn refused(form: &str, name: &str, content: Option<&[u8]>) -> String {
    open(&directory(form, name, content))
        .err()
        .expect("refused")
        .to_string()
}

#[test]
fn directories_that_do_not_fit() {
    // A further file does no harm.
    assert!(open(&directory("tied", "more", Some(b""))).is_ok());

    for file in ["config.json", "tokenizer.json", "model.safetensors"] {
        assert!(refused("tied", file, None).starts_with("cannot read"));
        assert!(!refused("tied", file, Some(b"")).is_empty());
    }

    let weights = read("tiny_qwen2/tied/model.safetensors");

    // Cut in the length of the header, in the header, and in the data.
    for len in [0, 7, 8, 100, weights.len() / 2, weights.len() - 1] {
        assert!(
            refused("tied", "model.safetensors", Some(&weights[..len])).contains("bytes"),
            "{len}"
        );
    }

    let config = String::from_utf8(read("tiny_qwen2/tied/config.json")).expect("text");
    for (from, to, error) in [
        (
            r#""hidden_size": 64"#,
            r#""hidden_size": 128"#,
            "tensor model.embed_tokens.weight has shape [1024, 64], expected [1024, 128]",
        ),
        (
            r#""num_hidden_layers": 2"#,
            r#""num_hidden_layers": 3"#,
            "tensor model.layers.2.input_layernorm.weight is missing",
        ),
        (
            r#""num_hidden_layers": 2"#,
            r#""num_hidden_layers": 1"#,
            "tensor model.layers.1.input_layernorm.weight has no place in this architecture",
        ),
        (
            r#""intermediate_size": 176"#,
            r#""intermediate_size": 177"#,
            "tensor model.layers.0.mlp.gate_proj.weight has shape [176, 64], expected [177, 64]",
        ),
        (
            r#""num_key_value_heads": 2"#,
            r#""num_key_value_heads": 4"#,
            "tensor model.layers.0.self_attn.k_proj.weight has shape [32, 64], expected [64, 64]",
        ),
        (
            r#""tie_word_embeddings": true"#,
            r#""tie_word_embeddings": false"#,
            "tensor lm_head.weight is missing",
        ),
        (
            r#""model_type": "qwen2""#,
            r#""model_type": "qwen3""#,
            "unsupported model: model_type is qwen3, expected qwen2 or llama",
        ),
        (
            r#""model_type": "qwen2""#,
            r#""model_type": "llama""#,
            "tensor model.layers.0.self_attn.k_proj.bias has no place in this architecture",
        ),
        (
            r#""vocab_size": 1024"#,
            r#""vocab_size": 1023"#,
            "tokenizer: it has 1024 ids, the model's vocabulary 1023 entries",
        ),
        (
            r#""vocab_size": 1024"#,
            r#""vocab_size": 151936"#,
            "tokenizer: it has 1024 ids, the model's vocabulary 151936 entries",
        ),
    ] {
        assert!(config.contains(from));
        assert_eq!(
            refused(
                "tied",
                "config.json",
                Some(config.replace(from, to).as_bytes())
            ),
            error
        );
    }

    // A tied model may carry a copy of its output layer, which is not read. If the configuration
    // does not say, the tensors decide.
    assert!(open(&directory("untied", "config.json", Some(config.as_bytes()))).is_ok());

    let silent = config.replace(r#""tie_word_embeddings": true,"#, "");
    for form in ["tied", "untied"] {
        let decoder =
            open(&directory(form, "config.json", Some(silent.as_bytes()))).expect("a model");
        assert_eq!(decoder.config().tie_word_embeddings, Some(form == "tied"));
    }

    let mut infinite = weights.clone();
    let end = infinite.len();
    infinite[end - 4..].copy_from_slice(&f32::NAN.to_le_bytes());
    assert!(refused("tied", "model.safetensors", Some(&infinite)).ends_with("is NaN"));
}

#[test]
fn shards_by_an_index() {
    let dir = directory("tied", "model.safetensors", None);

    let mut source = SafeTensors::from_dir(&fixtures().join("tiny_qwen2/tied")).expect("weights");
    let mut map = serde_json::Map::new();
    let mut files = [
        std::collections::HashMap::new(),
        std::collections::HashMap::new(),
    ];

    // The tensors go to the two shards by turns.
    for (i, name) in source.names().into_iter().enumerate() {
        let shape = source.shape(&name).expect("there");
        let values = source.read(&name).expect("values");
        files[i % 2].insert(
            name.clone(),
            Tensor::from_vec(values, shape, &Device::Cpu).expect("a tensor"),
        );
        map.insert(name, format!("model-{}.safetensors", i % 2).into());
    }

    for (i, tensors) in files.iter().enumerate() {
        let path = dir.path().join(format!("model-{i}.safetensors"));
        candle_core::safetensors::save(tensors, path).expect("written");
    }

    let index = serde_json::json!({"weight_map": map}).to_string();
    std::fs::write(dir.path().join("model.safetensors.index.json"), index).expect("written");

    let cases = cases("tiny_qwen2/tied/expected.json");
    let found = open(&dir)
        .expect("a model")
        .log_probs(&inputs(&cases))
        .expect("scores");
    assert!(difference(&found, &cases) <= 1e-4);

    std::fs::remove_file(dir.path().join("model-1.safetensors")).expect("removed");
    assert!(
        open(&dir)
            .err()
            .expect("a shard is missing")
            .to_string()
            .starts_with("cannot read")
    );
}

#[test]
fn damaged_gguf() {
    let whole = embedded_gguf(GgmlDType::Q8_0, &[]);

    // Cut in the magic number, the version, the counts, the metadata, and the tensors.
    for len in [
        0,
        3,
        4,
        8,
        24,
        100,
        5000,
        200_000,
        whole.len() / 2,
        whole.len() - 4096,
    ] {
        let error = open_gguf(whole[..len].to_vec()).err().expect("cut");
        assert!(
            matches!(error, LmError::Malformed { .. } | LmError::Io { .. }),
            "{len}: {error}"
        );
    }

    // Counts and lengths that would take all memory: tensors, pairs, the first key.
    for at in [8, 16, 24] {
        for huge in [u64::MAX, 1 << 40, 1 << 20] {
            let mut bytes = whole.clone();
            bytes[at..at + 8].copy_from_slice(&huge.to_le_bytes());
            assert!(open_gguf(bytes).is_err(), "{huge} at {at}");
        }
    }

    // Absurd dimensions of the first tensor. The name is followed by the number of dimensions, and
    // then by their values.
    let name = b"blk.0.attn_k.bias";
    let at = whole
        .windows(name.len())
        .position(|window| window == name)
        .expect("there")
        + name.len();

    for (offset, huge) in [(0, 1 << 30), (4, 1 << 40), (4, u64::MAX), (4, 63)] {
        let mut bytes = whole.clone();
        bytes[at + offset..at + offset + 4].copy_from_slice(&(huge as u32).to_le_bytes());
        if offset == 4 {
            bytes[at + 4..at + 12].copy_from_slice(&huge.to_le_bytes());
        }

        let error = match open_gguf(bytes) {
            Ok(model) => model.load(Options::cpu(256)).err().expect("refused"),
            Err(error) => error,
        };
        assert!(
            matches!(error, LmError::Malformed { .. } | LmError::Shape { .. }),
            "{huge}: {error}"
        );
    }

    // Metadata that does not fit this decoder, the tensors or the tokenizer.
    for (key, value, word) in [
        (
            "general.architecture",
            Meta::String("gemma".into()),
            "gemma",
        ),
        ("general.alignment", Meta::U32(0), "alignment"),
        (
            "qwen2.rope.scaling.type",
            Meta::String("yarn".into()),
            "yarn",
        ),
        ("qwen2.expert_count", Meta::U32(8), "expert_count"),
        ("qwen2.embedding_length", Meta::U32(u32::MAX), "hidden_size"),
        (
            "qwen2.block_count",
            Meta::U32(5),
            "model.layers.4.input_layernorm.weight is missing",
        ),
        (
            "qwen2.attention.head_count",
            Meta::U32(0),
            "num_attention_heads",
        ),
        (
            "qwen2.feed_forward_length",
            Meta::Array(vec![Meta::U32(640)]),
            "feed_forward_length",
        ),
        (
            "tokenizer.ggml.model",
            Meta::String("llama".into()),
            "kind llama",
        ),
        (
            "tokenizer.ggml.pre",
            Meta::String("deepseek-llm".into()),
            "deepseek-llm",
        ),
        (
            "tokenizer.ggml.tokens",
            Meta::Array(vec![Meta::String("a".into())]),
            "tokenizer",
        ),
        (
            "tokenizer.ggml.merges",
            Meta::Bool(true),
            "merges is missing",
        ),
    ] {
        let error = match open_gguf(embedded_gguf(GgmlDType::Q8_0, &[(key, value)])) {
            Ok(model) => model.load(Options::cpu(256)).err().expect(key),
            Err(error) => error,
        };
        assert!(error.to_string().contains(word), "{key}: {error}");
    }

    assert!(Gguf::from_reader("nothing", Box::new(Cursor::new(Vec::new()))).is_err());
}

#[test]
fn flipped_bytes_never_panic() {
    // A header has no checksum, so a file with a flipped byte may load. It must not bring the
    // process down, nor take memory that the file does not account for.
    let tensors = read("tiny_qwen2/tied/model.safetensors");
    let gguf = embedded_gguf(GgmlDType::Q8_0, &[]);
    let config = tiny_config("tied", "config.json");

    // A linear congruential generator. The flipped bytes lie in the header of the safetensors file,
    // or shortly behind it, and in the metadata of the GGUF file.
    let mut state = 1u64;
    let mut random = move |n: usize| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (state >> 33) as usize % n
    };

    for _ in 0..300 {
        let mut bytes = tensors.clone();
        bytes[random(3000)] ^= 1 << random(8);
        if let Ok(mut source) = SafeTensors::from_reader("flipped", Box::new(Cursor::new(bytes))) {
            let _ = Decoder::load(config.clone(), &mut source, Options::cpu(8));
        }

        let mut bytes = gguf.clone();
        bytes[random(900)] ^= 1 << random(8);
        if let Ok(gguf) = Gguf::from_reader("flipped", Box::new(Cursor::new(bytes))) {
            let _ = (Config::from_gguf(&gguf), gguf.tokenizer_json().is_ok());
        }
    }
}
