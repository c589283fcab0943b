// SPDX-License-Identifier: Apache-2.0

#include "cli/printable_message.h"

#include <google/protobuf/descriptor.h>

#include <vector>

#include "base/printable_text.h"

namespace fedtune {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::Reflection;

void MakeTextsPrintable(Message& message, const FieldDescriptor& field) {
  const Reflection& reflection = *message.GetReflection();
  if (!field.is_repeated()) {
    return reflection.SetString(&message, &field,
                                PrintableText(reflection.GetString(message, &field)));
  }
  for (int i = 0; i < reflection.FieldSize(message, &field); ++i) {
    reflection.SetRepeatedString(&message, &field, i,
                                 PrintableText(reflection.GetRepeatedString(message, &field, i)));
  }
}

void MakeMessagesPrintable(Message& message, const FieldDescriptor& field) {
  const Reflection& reflection = *message.GetReflection();
  if (!field.is_repeated()) return MakePrintable(*reflection.MutableMessage(&message, &field));
  for (int i = 0; i < reflection.FieldSize(message, &field); ++i) {
    MakePrintable(*reflection.MutableRepeatedMessage(&message, &field, i));
  }
}

}  // namespace

void MakePrintable(Message& message) {
  std::vector<const FieldDescriptor*> fields;
  message.GetReflection()->ListFields(message, &fields);
  for (const FieldDescriptor* field : fields) {
    if (field->type() == FieldDescriptor::TYPE_STRING) MakeTextsPrintable(message, *field);
    if (field->type() == FieldDescriptor::TYPE_MESSAGE) MakeMessagesPrintable(message, *field);
  }
}

}  // namespace fedtune
