# What must not be open to everybody.
package public_access

import data.lib.plan

everybody := {"0.0.0.0/0", "::/0"}

# Ports at which machines and databases are administered, with what answers there. `admin_ports` in a data file replaces
# them.
default_ports := {
	"22": "SSH",
	"1433": "SQL Server",
	"3306": "MySQL",
	"3389": "Remote Desktop",
	"5432": "PostgreSQL",
	"6379": "Redis",
	"9200": "OpenSearch",
	"27017": "MongoDB",
}

ports := data.admin_ports if is_object(data.admin_ports)

else := default_ports

deny_public_acl contains msg if {
	some type in {"aws_s3_bucket", "aws_s3_bucket_acl"}
	some resource in plan.of_type(type)
	acl := resource.change.after.acl
	acl in {"public-read", "public-read-write", "authenticated-read", "website"}
	msg := sprintf("%s is open to everybody: its ACL is `%s`", [resource.address, acl])
}

deny_public_access_block contains msg if {
	some resource in plan.of_type("aws_s3_bucket_public_access_block")
	some name in ["block_public_acls", "block_public_policy", "ignore_public_acls", "restrict_public_buckets"]
	plan.not_true(resource, name)
	msg := sprintf("%s leaves a way to the public open: set `%s = true`", [resource.address, name])
}

deny_public_database contains msg if {
	some type in {"aws_db_instance", "aws_rds_cluster_instance", "aws_redshift_cluster"}
	some resource in plan.of_type(type)
	resource.change.after.publicly_accessible == true
	msg := sprintf("%s can be reached from the internet: set `publicly_accessible = false`", [resource.address])
}

# What a security group lets in: rules in the group, and rules of their own in both forms of the provider.
opening contains {"address": resource.address, "from": rule.from_port, "to": rule.to_port, "protocol": rule.protocol} if {
	some resource in plan.of_type("aws_security_group")
	some rule in plan.list(resource.change.after.ingress)
	some name in ["cidr_blocks", "ipv6_cidr_blocks"]
	some range in plan.list(object.get(rule, name, []))
	range in everybody
}

opening contains {"address": resource.address, "from": rule.from_port, "to": rule.to_port, "protocol": rule.protocol} if {
	some resource in plan.of_type("aws_security_group_rule")
	rule := resource.change.after
	rule.type == "ingress"
	some name in ["cidr_blocks", "ipv6_cidr_blocks"]
	some range in plan.list(object.get(rule, name, []))
	range in everybody
}

opening contains {"address": resource.address, "from": from, "to": to, "protocol": rule.ip_protocol} if {
	some resource in plan.of_type("aws_vpc_security_group_ingress_rule")
	rule := resource.change.after
	some name in ["cidr_ipv4", "cidr_ipv6"]
	object.get(rule, name, null) in everybody
	from := object.get(rule, "from_port", null)
	to := object.get(rule, "to_port", null)
}

covers(rule, _) if rule.protocol == "-1"

covers(rule, port) if {
	rule.from <= to_number(port)
	rule.to >= to_number(port)
}

deny_public_admin_port contains msg if {
	some rule in opening
	some port, what in ports
	covers(rule, port)
	msg := sprintf("%s opens port %s (%s) to everybody", [rule.address, port, what])
}
