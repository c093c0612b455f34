//! What a module does with the workspace of Terraform's CLI.

use hcl_edit::expr::{BinaryOp, Expression, Traversal, TraversalOperator};
use hcl_edit::structure::Body;
use hcl_edit::visit::{self, Visit};

use super::ModuleDir;
use crate::hcl::literal_str;

/// Notes whether a body asks for `terraform.workspace`, and what it compares it with.
pub(super) fn look(body: &Body, dir: &mut ModuleDir) {
    Looker { dir }.visit_body(body);
}

struct Looker<'a> {
    dir: &'a mut ModuleDir,
}

impl Visit for Looker<'_> {
    fn visit_traversal(&mut self, node: &Traversal) {
        if is_workspace(node) {
            self.dir.uses_workspace = true;
        }
        visit::visit_traversal(self, node);
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
