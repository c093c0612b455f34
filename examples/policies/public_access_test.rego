package public_access_test

import data.public_access

plan(type, after) := {"resource_changes": [{
	"address": concat(".", [type, "x"]),
	"mode": "managed",
	"type": type,
	"change": {"actions": ["update"], "after": after, "after_unknown": {}},
}]}

rule(from, to, range) := {"from_port": from, "to_port": to, "protocol": "tcp", "cidr_blocks": [range]}

test_public_acls_are_denied if {
	every acl in ["public-read", "public-read-write"] {
		count(public_access.deny_public_acl) == 1 with input as plan("aws_s3_bucket", {"acl": acl})
		count(public_access.deny_public_acl) == 1 with input as plan("aws_s3_bucket_acl", {"acl": acl})
	}
	count(public_access.deny_public_acl) == 0 with input as plan("aws_s3_bucket", {"acl": "private"})
}

test_a_block_has_all_four if {
	all := {
		"block_public_acls": true,
		"block_public_policy": true,
		"ignore_public_acls": true,
		"restrict_public_buckets": true,
	}
	type := "aws_s3_bucket_public_access_block"
	count(public_access.deny_public_access_block) == 0 with input as plan(type, all)
	count(public_access.deny_public_access_block) == 4 with input as plan(type, {})
}

test_databases if {
	count(public_access.deny_public_database) == 1 with input as plan("aws_db_instance", {"publicly_accessible": true})
	count(public_access.deny_public_database) == 0 with input as plan("aws_db_instance", {"publicly_accessible": false})
}

test_administration_from_everywhere_is_denied if {
	some range in ["0.0.0.0/0", "::/0"]
	group := plan("aws_security_group", {"ingress": [rule(20, 25, range), rule(443, 443, range)]})
	public_access.deny_public_admin_port == {"aws_security_group.x opens port 22 (SSH) to everybody"} with input as group
}

test_administration_from_somewhere_passes if {
	group := plan("aws_security_group", {"ingress": [rule(22, 22, "10.0.0.0/8")]})
	count(public_access.deny_public_admin_port) == 0 with input as group
}

test_rules_of_their_own if {
	one := object.union(rule(5432, 5432, "0.0.0.0/0"), {"type": "ingress"})
	count(public_access.deny_public_admin_port) == 1 with input as plan("aws_security_group_rule", one)
	out := object.union(one, {"type": "egress"})
	count(public_access.deny_public_admin_port) == 0 with input as plan("aws_security_group_rule", out)
	all := {"ip_protocol": "-1", "cidr_ipv4": "0.0.0.0/0"}
	type := "aws_vpc_security_group_ingress_rule"
	count(public_access.deny_public_admin_port) == count(public_access.ports) with input as plan(type, all)
}

test_ports_can_be_others if {
	group := plan("aws_security_group", {"ingress": [rule(22, 22, "0.0.0.0/0")]})
	count(public_access.deny_public_admin_port) == 0 with input as group with data.admin_ports as {"8080": "console"}
}
