//! The trees of `examples/adopt`.

use super::super::{Options, read};
use super::{Tree, example, told};

fn survey(name: &str) -> String {
    told(&read(&Options { working_dir: example(name), ..Options::default() }).unwrap())
}

#[test]
fn each_example_is_known() {
    for name in ["environments", "variables", "tree", "shared", "workspaces", "account-list"] {
        insta::assert_snapshot!(format!("survey_of_{name}"), survey(name));
    }
}

#[test]
fn examples_beside_each_other_have_rules_of_their_own() {
    let mut tree = Tree::new(&[]);
    for name in ["environments", "variables", "shared", "workspaces", "account-list"] {
        let dir = example(name);
        for entry in ignore::WalkBuilder::new(&dir).build().filter_map(Result::ok) {
            let path = camino::Utf8Path::from_path(entry.path()).unwrap();
            if path.is_file() {
                let text = std::fs::read_to_string(path).unwrap();
                tree = tree.file(path.strip_prefix(&dir).unwrap().as_str(), &text);
            }
        }
    }
    insta::assert_snapshot!("survey_of_several", told(&tree.survey()));
}
