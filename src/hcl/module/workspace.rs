//! What a module does with the workspace of Terraform's CLI.

use std::collections::{BTreeMap, BTreeSet};

use hcl_edit::expr::{BinaryOp, Expression, FuncCall, Traversal, TraversalOperator};
use hcl_edit::structure::Body;
use hcl_edit::visit::{self, Visit};

use super::ModuleDir;
use crate::hcl::{literal_str, object_key};

/// The maps of a module that are written out, and those in which it looks up its workspace.
#[derive(Debug, Default)]
pub(super) struct Maps {
    /// The keys of each: `local.NAME`, `var.NAME`.
    written: BTreeMap<String, BTreeSet<String>>,
    looked_up: BTreeSet<String>,
}

impl Maps {
    /// Takes up a local, or the default of a variable.
    pub(super) fn take(&mut self, kind: &str, name: &str, value: &Expression) {
        let Some(object) = value.as_object() else { return };
        let keys = object.iter().filter_map(|(key, _)| object_key(key)).map(str::to_owned);
        self.written.insert(format!("{kind}.{name}"), keys.collect());
    }

    /// The names that a workspace has in these maps.
    pub(super) fn keys(mut self) -> BTreeSet<String> {
        self.looked_up.iter().filter_map(|name| self.written.remove(name)).flatten().collect()
    }
}

/// Notes whether a body asks for `terraform.workspace`, what it compares it with, and in which maps it looks it up.
pub(super) fn look(body: &Body, dir: &mut ModuleDir, maps: &mut Maps) {
    Looker { dir, maps }.visit_body(body);
}

struct Looker<'a> {
    dir: &'a mut ModuleDir,
    maps: &'a mut Maps,
}

impl Looker<'_> {
    fn looks_up(&mut self, kind: &Expression, name: Option<&TraversalOperator>) {
        let (Some(kind), Some(TraversalOperator::GetAttr(name))) = (kind.as_variable(), name) else { return };
        self.maps.looked_up.insert(format!("{kind}.{name}"));
    }
}

impl Visit for Looker<'_> {
    fn visit_traversal(&mut self, node: &Traversal) {
        if is_workspace(node) {
            self.dir.uses_workspace = true;
        }
        // `local.sizes[terraform.workspace]`.
        if let [name, index, ..] = &node.operators[..]
            && let TraversalOperator::Index(index) = index.value()
            && index.as_traversal().is_some_and(is_workspace)
        {
            self.looks_up(&node.expr, Some(name.value()));
        }
        visit::visit_traversal(self, node);
    }

    /// `lookup(var.sizes, terraform.workspace)`.
    fn visit_func_call(&mut self, node: &FuncCall) {
        let mut arguments = node.args.iter();
        if let (Some(map), Some(key)) = (arguments.next().and_then(Expression::as_traversal), arguments.next())
            && node.name.name.as_str() == "lookup"
            && key.as_traversal().is_some_and(is_workspace)
        {
            self.looks_up(&map.expr, map.operators.first().map(hcl_edit::Decorated::value));
        }
        visit::visit_func_call(self, node);
    }

    fn visit_binary_op(&mut self, node: &BinaryOp) {
        let asks = |side: &Expression| side.as_traversal().is_some_and(is_workspace);
        for (one, other) in [(&node.lhs_expr, &node.rhs_expr), (&node.rhs_expr, &node.lhs_expr)] {
            if let Some(name) = asks(one).then(|| literal_str(other)).flatten() {
                self.dir.workspace_names.insert(name.to_owned());
            }
        }
        visit::visit_binary_op(self, node);
    }
}

fn is_workspace(node: &Traversal) -> bool {
    let first = node.operators.first().map(hcl_edit::Decorated::value);
    node.expr.as_variable().is_some_and(|name| name.as_str() == "terraform")
        && matches!(first, Some(TraversalOperator::GetAttr(name)) if name.as_str() == "workspace")
}
