package iam_test

import data.iam

plan(statement) := {"resource_changes": [{
	"address": "aws_iam_policy.x",
	"mode": "managed",
	"type": "aws_iam_policy",
	"change": {
		"actions": ["create"],
		"after": {"policy": json.marshal({"Version": "2012-10-17", "Statement": statement})},
		"after_unknown": {},
	},
}]}

test_every_action_is_denied if {
	every statement in [
		{"Effect": "Allow", "Action": "*", "Resource": "arn:aws:s3:::b"},
		[{"Effect": "Allow", "Action": ["s3:GetObject", "*"], "Resource": "*"}],
		{"Effect": "Allow", "NotAction": "iam:*", "Resource": "*"},
	] {
		count(iam.deny_wildcard) == 1 with input as plan(statement)
	}
}

test_named_actions_pass if {
	every statement in [
		{"Effect": "Allow", "Action": "s3:GetObject", "Resource": "*"},
		{"Effect": "Deny", "Action": "*", "Resource": "*"},
	] {
		count(iam.deny_wildcard | iam.warn_wildcard) == 0 with input as plan(statement)
	}
}

test_all_of_a_service_is_a_warning if {
	statement := {"Effect": "Allow", "Action": "s3:*", "Resource": "*"}
	iam.warn_wildcard == {"aws_iam_policy.x allows `s3:*` on every resource"} with input as plan(statement)
}

test_what_is_not_known_yet_is_not_judged if {
	changes := [{
		"address": "aws_iam_policy.x",
		"mode": "managed",
		"type": "aws_iam_policy",
		"change": {"actions": ["create"], "after": {}, "after_unknown": {"policy": true}},
	}]
	count(iam.statements) == 0 with input as {"resource_changes": changes}
}

test_administrators_are_denied if {
	changes := [{
		"address": "aws_iam_role_policy_attachment.x",
		"mode": "managed",
		"type": "aws_iam_role_policy_attachment",
		"change": {"actions": ["create"], "after": {"policy_arn": "arn:aws:iam::aws:policy/AdministratorAccess"}},
	}]
	count(iam.deny_administrator) == 1 with input as {"resource_changes": changes}
}
