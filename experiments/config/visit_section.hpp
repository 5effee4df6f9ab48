// A section of a configuration that is a structure of its own.
#pragma once

#include "core/base/fields.hpp"

namespace blockwise {

template <typename Section>
void visit_section(FieldVisitor& v, const Field& field, Section& section) {
  v.begin_section(field);
  section.visit(v);
  v.end_section();
}

}  // namespace blockwise
