//! ONNX files that are not let in, whatever they are made of.

mod common;

use common::TestResult;
use ltv_core::error::ErrorKind;
use ltv_core::onnx::proto::{
    AttributeProto, FunctionProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto,
    ValueInfoProto,
};
use ltv_core::onnx::{Limits, inspect};
use prost::Message;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

fn node(operator: &str, input: &[&str], output: &[&str]) -> NodeProto {
    NodeProto {
        op_type: operator.into(),
        input: input.iter().map(|s| (*s).into()).collect(),
        output: output.iter().map(|s| (*s).into()).collect(),
        ..NodeProto::default()
    }
}

fn model(node: Vec<NodeProto>) -> ModelProto {
    let port = |name: &str| ValueInfoProto {
        name: name.into(),
        r#type: None,
    };
    ModelProto {
        ir_version: 8,
        opset_import: vec![OperatorSetIdProto {
            domain: String::new(),
            version: 17,
        }],
        graph: Some(GraphProto {
            node,
            input: vec![port("x")],
            output: vec![port("y")],
            ..GraphProto::default()
        }),
        ..ModelProto::default()
    }
}

fn function(name: &str, node: Vec<NodeProto>) -> FunctionProto {
    FunctionProto {
        name: name.into(),
        domain: "own".into(),
        input: vec!["a".into()],
        output: vec!["b".into()],
        node,
        ..FunctionProto::default()
    }
}

fn call(name: &str, input: &str, output: &str) -> NodeProto {
    NodeProto {
        domain: "own".into(),
        ..node(name, &[input], &[output])
    }
}

fn kind(model: &ModelProto) -> Option<ErrorKind> {
    inspect(&model.encode_to_vec(), &Limits::default())
        .err()
        .map(|error| error.kind)
}

const REFUSED: Option<ErrorKind> = Some(ErrorKind::Unsupported);

#[test]
fn loops_are_refused_wherever_they_hide() {
    for operator in ["If", "Loop", "Scan", "SequenceMap"] {
        assert_eq!(kind(&model(vec![node(operator, &["x"], &["y"])])), REFUSED);
    }
    // Any operator that holds a graph.
    let mut holder = node("Abs", &["x"], &["y"]);
    holder.attribute.push(AttributeProto {
        name: "body".into(),
        g: Some(GraphProto::default()),
        ..AttributeProto::default()
    });
    assert_eq!(kind(&model(vec![holder])), REFUSED);
    // In a function, called or not, and in one that has the name of a standard operator.
    let mut hidden = model(vec![call("F", "x", "y")]);
    hidden.functions = vec![function("F", vec![node("Loop", &["a"], &["b"])])];
    assert_eq!(kind(&hidden), REFUSED);
    let mut disguised = model(vec![node("Abs", &["x"], &["y"])]);
    disguised.functions = vec![FunctionProto {
        domain: String::new(),
        ..function("Loop", vec![node("Abs", &["a"], &["b"])])
    }];
    assert_eq!(kind(&disguised), REFUSED);
    let allowed = Limits {
        control_flow: true,
        ..Limits::default()
    };
    assert!(inspect(&hidden.encode_to_vec(), &allowed).is_ok());
}

#[test]
fn functions_may_not_multiply_without_end() {
    let twice = |from: &str| vec![call(from, "a", "t"), call(from, "t", "b")];
    let mut chain = model(vec![call("F0", "x", "y")]);
    for depth in 0..30 {
        let inner = format!("F{}", depth + 1);
        chain
            .functions
            .push(function(&format!("F{depth}"), twice(&inner)));
    }
    chain
        .functions
        .push(function("F30", vec![node("Abs", &["a"], &["b"])]));
    assert_eq!(kind(&chain), Some(ErrorKind::TooLarge));
    let mut circle = model(vec![call("F", "x", "y")]);
    circle.functions = vec![function("F", twice("F"))];
    assert_eq!(kind(&circle), Some(ErrorKind::TooLarge));
    let mut honest = model(vec![call("F", "x", "y")]);
    honest.functions = vec![function("F", vec![node("Abs", &["a"], &["b"])])];
    assert_eq!(kind(&honest), None);
}

#[test]
fn sizes_may_come_from_shapes_but_not_from_values() {
    let from_value = model(vec![node("Expand", &["c", "x"], &["y"])]);
    assert_eq!(kind(&from_value), REFUSED);
    let from_shape = model(vec![
        node("Shape", &["x"], &["s"]),
        node("Expand", &["c", "s"], &["y"]),
    ]);
    assert_eq!(kind(&from_shape), None);
    // The shape of what was picked by value is a value in disguise.
    let disguised = model(vec![
        node("Expand", &["c", "n"], &["y"]),
        node("Shape", &["picked"], &["n"]),
        node("NonZero", &["x"], &["picked"]),
    ]);
    assert_eq!(kind(&disguised), REFUSED);
    let random = model(vec![
        node("RandomUniform", &[], &["r"]),
        node("Range", &["r", "r", "r"], &["y"]),
    ]);
    assert_eq!(kind(&random), REFUSED);
    // Through a function.
    let mut called = model(vec![
        call("F", "x", "n"),
        node("ConstantOfShape", &["n"], &["y"]),
    ]);
    called.functions = vec![function("F", vec![node("Abs", &["a"], &["b"])])];
    assert_eq!(kind(&called), REFUSED);
    called.functions = vec![function("F", vec![node("Shape", &["a"], &["b"])])];
    assert_eq!(kind(&called), None);
}

#[test]
fn a_small_file_does_not_become_large_in_memory() {
    // Empty messages: two bytes each in the file.
    let mut graph = vec![0x3a];
    let nodes = [0x0a, 0x00].repeat(20_000_000);
    prost::encoding::encode_varint(nodes.len() as u64, &mut graph);
    graph.extend(nodes);
    let error = inspect(&graph, &Limits::default()).unwrap_err();
    assert_eq!(error.kind, ErrorKind::TooLarge);
    // Graphs in attributes of nodes of graphs, deeper than the decoder goes.
    let mut nested = Vec::new();
    for _ in 0..20_000 {
        for tag in [0x32, 0x2a, 0x0a] {
            let mut outer = vec![tag];
            prost::encoding::encode_varint(nested.len() as u64, &mut outer);
            outer.append(&mut nested);
            nested = outer;
        }
        if nested.len() > 100_000 {
            break;
        }
    }
    let mut file = vec![0x3a];
    prost::encoding::encode_varint(nested.len() as u64, &mut file);
    file.extend(nested);
    assert!(inspect(&file, &Limits::default()).is_err());
}

#[test]
fn broken_trees_are_refused() -> TestResult {
    let ints = |name: &str, ints: &[i64]| AttributeProto {
        name: name.into(),
        ints: ints.to_vec(),
        r#type: 7,
        ..AttributeProto::default()
    };
    let tree = |yes: i64, no: i64| {
        let mut tree = node("TreeEnsembleRegressor", &["x"], &["y"]);
        tree.domain = "ai.onnx.ml".into();
        tree.attribute = vec![
            ints("nodes_treeids", &[0, 0, 0]),
            ints("nodes_nodeids", &[0, 1, 2]),
            ints("nodes_truenodeids", &[yes, 0, 0]),
            ints("nodes_falsenodeids", &[no, 0, 0]),
            AttributeProto {
                name: "nodes_modes".into(),
                strings: [&b"BRANCH_LEQ"[..], b"LEAF", b"LEAF"]
                    .map(<[u8]>::to_vec)
                    .to_vec(),
                r#type: 8,
                ..AttributeProto::default()
            },
        ];
        model(vec![tree])
    };
    assert_eq!(kind(&tree(1, 2)), None);
    // Set membership: two branches to one node.
    assert_eq!(kind(&tree(1, 1)), None);
    for (yes, no) in [(0, 1), (1, 0), (7, 1), (1, -1)] {
        assert_eq!(kind(&tree(yes, no)), Some(ErrorKind::InvalidModel));
    }
    Ok(())
}

/// Whatever the bytes are, reading them ends in an answer.
#[test]
fn changed_bytes_are_read_or_refused() {
    let mut random = SmallRng::seed_from_u64(20_261_129);
    let mut graph = model(vec![
        call("F", "x", "a"),
        node("Add", &["a", "x"], &["b"]),
        node("Shape", &["b"], &["s"]),
        node("Expand", &["b", "s"], &["y"]),
    ]);
    graph.functions = vec![function("F", vec![node("Abs", &["a"], &["b"])])];
    let original = graph.encode_to_vec();
    for _ in 0..30_000 {
        let mut bytes = original.clone();
        for _ in 0..random.random_range(1..5) {
            if bytes.is_empty() {
                break;
            }
            let at = random.random_range(0..bytes.len());
            match random.random_range(0..4) {
                0 => {
                    bytes.remove(at);
                }
                1 => bytes.insert(at, random.random()),
                2 => bytes.truncate(at.max(1)),
                _ => bytes[at] = random.random(),
            }
        }
        let _ = inspect(&bytes, &Limits::default());
    }
}
