// SPDX-License-Identifier: Apache-2.0

// What a chat template may take of time and memory.

#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/written_chat.h"

namespace fedtune {
namespace {

using ::testing::HasSubstr;
using testing::Write;

TEST(ChatTemplateBoundsTest, RefusesWhatWouldTakeAllMemory) {
  const std::string too_much = "model: line 1: the chat template handles too much text";
  const std::string text =
      "{% set n = namespace(t='0123456789abcdef') %}"
      "{% for i in range(16) %}{% set n.t = n.t ~ n.t %}{% endfor %}";
  EXPECT_EQ(Write(text + "{% set n.l = [n.t] %}"
                         "{% for i in range(16) %}{% set n.l = n.l + n.l %}{% endfor %}"),
            too_much);
  // Objects are shared, and what is taken of them is not.
  EXPECT_EQ(Write(text + "{% set n.l = [{'a': n.t}] %}{% for i in range(16) %}"
                         "{% set n.l = n.l + n.l %}{% endfor %}"
                         "{{ n.l | map(attribute='a') | list | length }}"),
            too_much);
  EXPECT_EQ(Write("{% macro m() %}{% for i in range(300) %}" + std::string(200'000, 'x') +
                  "{% endfor %}{{ m() }}{% endmacro %}{{ m() }}"),
            "model: line 1: the chat template writes too much");
}

TEST(ChatTemplateBoundsTest, CountsTheStepsOfWhatGoesThroughListsAndGivesNone) {
  const std::string lists =
      "{% set a = range(60000) | list %}{% set b = range(60000) | list %}{% set n = namespace() %}"
      "{% for i in range(1000) %}";
  for (const std::string work : {"a == b", "-1 in a", "a is eq(b)", "70000 is in(a)"}) {
    EXPECT_EQ(Write(lists + "{% set n.x = " + work + " %}{% endfor %}"),
              "model: line 1: the chat template takes too many steps")
        << work;
  }
  const std::string objects =
      "{% set n = namespace(l=[{'a': ''}]) %}{% for i in range(16) %}{% set n.l = n.l + n.l %}"
      "{% endfor %}{% for i in range(1000) %}{% set n.x = ";
  EXPECT_EQ(Write(objects + "n.l | map(attribute='a') | join %}{% endfor %}"),
            "model: line 1: the chat template takes too many steps");
  EXPECT_EQ(Write(objects + "n.l | selectattr('a') | list %}{% endfor %}"),
            "model: line 1: the chat template handles too much text");
}

TEST(ChatTemplateBoundsTest, CountsWhatElementsAreComparedWithForEachOfThem) {
  const std::string objects =
      "{% set n = namespace(l=[{'a': 'x'}]) %}{% for i in range(16) %}{% set n.l = n.l + n.l %}"
      "{% endfor %}{% set numbers = range(65536) | list %}";
  EXPECT_EQ(Write(objects + "{{ n.l | selectattr('a', 'in', numbers) | list | length }}"),
            "model: line 1: the chat template takes too many steps");
  EXPECT_EQ(Write(objects + "{% set t = numbers | join %}"
                            "{{ n.l | selectattr('a', 'in', t) | list | length }}"),
            "model: line 1: the chat template handles too much text");
}

// Each place of the second would be compared with half of the first.
TEST(ChatTemplateBoundsTest, FindsPartsInLinearTime) {
  const std::string text =
      "{% set n = namespace(t='aaaaaaaaaaaaaaaa') %}"
      "{% for i in range(20) %}{% set n.t = n.t ~ n.t %}{% endfor %}{% set part = n.t ~ 'b' %}"
      "{% set n.t = n.t ~ n.t %}";
  EXPECT_EQ(Write(text + "{{ part in n.t }}"), "False");
  EXPECT_EQ(Write(text + "{{ n.t.split(part) | length }}"), "1");
  EXPECT_EQ(Write(text + "{{ n.t.replace(part, '') | length }}"), "33554432");
}

TEST(ChatTemplateBoundsTest, EndsWhatWouldNotEnd) {
  const std::vector<ChatMessage> many(1000, {"user", "x"});
  EXPECT_EQ(Write("{% for a in messages %}{% for b in messages %}{% for c in messages %}"
                  "{% set d = 1 %}{% endfor %}{% endfor %}{% endfor %}",
                  many),
            "model: line 1: the chat template takes too many steps");
  EXPECT_EQ(Write("{% set n = namespace(t='xx') %}{% for a in messages %}"
                  "{% set n.t = n.t + n.t %}{% endfor %}",
                  many),
            "model: line 1: the chat template writes too much");
  EXPECT_EQ(Write("{{ (messages[0].content.split('x') | length) }}",
                  {{"user", std::string(size_t{1} << 17, 'x')}}),
            "model: line 1: the chat template splits text in too many parts");
  EXPECT_EQ(Write("{% set n = namespace(l=['x']) %}{% for a in messages %}"
                  "{% set n.l = n.l + n.l %}{% endfor %}",
                  many),
            "model: line 1: the chat template makes too long a list");
  EXPECT_EQ(Write("{% for i in range(99999) %}{% endfor %}"),
            "model: line 1: the chat template makes too long a list");
  EXPECT_EQ(Write("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}"),
            "model: line 1: the chat template's parts call each other too deeply");
  std::string chain = "{% macro m() %}{{ m()";
  for (int i = 0; i < 400; ++i) chain += " ~ 1";
  EXPECT_THAT(Write(chain + " }}{% endmacro %}{{ m() }}"), HasSubstr("too deeply"));
  EXPECT_THAT(Write("{{ " + std::string(200, '(') + "1" + std::string(200, ')') + " }}"),
              HasSubstr("nested too deeply"));
}

}  // namespace
}  // namespace fedtune
