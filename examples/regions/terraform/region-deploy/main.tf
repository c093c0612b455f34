# An account for each file in regions/.

locals {
  folder = "${path.module}/../../regions"
  files  = [for file in sort(fileset(local.folder, "*.yaml")) : yamldecode(file("${local.folder}/${file}"))]

  accounts = {
    for file in local.files : file.name => merge({ ou = null, tags = {}, role_name = "OrganizationAccountAccessRole" }, file)
  }

  units = { for unit in data.aws_organizations_organizational_units.top.children : unit.name => unit.id }
}

data "aws_organizations_organization" "this" {}

data "aws_organizations_organizational_units" "top" {
  parent_id = data.aws_organizations_organization.this.roots[0].id
}

data "aws_partition" "this" {}

resource "aws_organizations_account" "this" {
  for_each = local.accounts

  name      = each.key
  email     = each.value.email
  role_name = each.value.role_name
  tags      = each.value.tags

  # Without `ou` the account stays where it is. An OU is named by its id, or by its name where it is right below the root.
  parent_id = (
    each.value.ou == null ? null :
    can(regex("^(ou|r)-", each.value.ou)) ? each.value.ou :
    lookup(local.units, each.value.ou, null)
  )

  lifecycle {
    # A file that is removed must not remove its account. tfleet refuses such a plan too.
    prevent_destroy = true

    # AWS only takes the role's name when it makes the account, and never tells it again.
    ignore_changes = [role_name]

    precondition {
      condition     = each.value.ou == null || can(regex("^(ou|r)-", each.value.ou)) || contains(keys(local.units), each.value.ou)
      error_message = "There is no OU `${coalesce(each.value.ou, "-")}` right below the root, which the file of ${each.key} names; there are: ${join(", ", keys(local.units))}."
    }
  }
}
