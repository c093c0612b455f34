# Rights that reach everything.
package iam

import data.lib.plan

# The types that hold a policy document, each with the attribute.
documents := {
	"aws_iam_group_policy": "policy",
	"aws_iam_policy": "policy",
	"aws_iam_role_policy": "policy",
	"aws_iam_user_policy": "policy",
}

list(value) := value if is_array(value)

else := [value]

statements contains {"address": resource.address, "statement": statement} if {
	some type, attribute in documents
	some resource in plan.of_type(type)
	document := resource.change.after[attribute]
	json.is_valid(document)
	some statement in list(json.unmarshal(document).Statement)
	statement.Effect == "Allow"
}

deny_wildcard contains msg if {
	some one in statements
	some action in list(one.statement.Action)
	action in {"*", "*:*"}
	msg := sprintf("%s allows every action: name those that are needed", [one.address])
}

deny_wildcard contains msg if {
	some one in statements
	one.statement.NotAction
	msg := sprintf("%s allows everything but some actions (`NotAction`): name those that are needed", [one.address])
}

# All of a service on everything: often too much, sometimes meant.
warn_wildcard contains msg if {
	some one in statements
	"*" in list(one.statement.Resource)
	some action in list(one.statement.Action)
	endswith(action, ":*")
	action != "*:*"
	msg := sprintf("%s allows `%s` on every resource", [one.address, action])
}

deny_administrator contains msg if {
	some type in {"aws_iam_group_policy_attachment", "aws_iam_role_policy_attachment", "aws_iam_user_policy_attachment"}
	some resource in plan.of_type(type)
	endswith(resource.change.after.policy_arn, ":policy/AdministratorAccess")
	msg := sprintf("%s gives all rights of an administrator", [resource.address])
}
