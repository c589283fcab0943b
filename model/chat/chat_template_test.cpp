// SPDX-License-Identifier: Apache-2.0

#include "model/chat/chat_template.h"

#include <string>

#include "base/files.h"
#include "base/json.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/status_matchers.h"
#include "tests/support/written_chat.h"

namespace fedtune {
namespace {

using testing::IsOk;
using testing::Write;

void ExpectRendering(const ChatTemplate& chat, const nlohmann::json& rendering) {
  std::vector<ChatMessage> messages;
  for (const nlohmann::json& message : rendering.at("messages")) {
    messages.push_back(
        {message.at("role").get<std::string>(), message.at("content").get<std::string>()});
  }
  for (const bool ask : {false, true}) {
    const auto text = chat.Render(messages, ask);
    if (rendering.contains("refused")) {
      EXPECT_THAT(text, ::testing::Not(IsOk()));
      continue;
    }
    ASSERT_THAT(text, IsOk()) << text.status();
    EXPECT_EQ(text->text(), rendering.at(ask ? "asked" : "text").get<std::string>());
  }
}

TEST(ChatTemplateTest, WritesWhatTransformersWrites) {
  const auto content = ReadFile("tests/interop/golden/chat.json");
  ASSERT_THAT(content, IsOk());
  const auto golden = ParseJson(*content, "chat.json");
  ASSERT_THAT(golden, IsOk());
  const ChatTemplate::Marks marks{golden->at("marks").at("bos").get<std::string>(),
                                  golden->at("marks").at("eos").get<std::string>()};
  ASSERT_GE(golden->at("cases").size(), 19u);
  for (const nlohmann::json& one : golden->at("cases")) {
    SCOPED_TRACE(one.at("name"));
    const auto chat = ChatTemplate::Parse(one.at("template").get<std::string>(), "golden", marks);
    ASSERT_THAT(chat, IsOk()) << chat.status();
    for (const nlohmann::json& rendering : one.at("renderings")) ExpectRendering(*chat, rendering);
  }
}

TEST(ChatTemplateTest, MarksWhatTheAssistantSaid) {
  EXPECT_EQ(Write("{% for m in messages %}{{ m.role ~ ':' ~ m.content }};{% endfor %}"),
            "user:Hi;assistant:[Hello];");
}

TEST(ChatTemplateTest, KeepsTheMarksOfPartsOfAnAnswer) {
  const std::string last = "{{ '(' + messages[-1].content.split('</think>')[-1].strip() + ')' }}";
  EXPECT_EQ(Write(last, {{"user", "Hi"}, {"assistant", "hm</think> Hello "}}), "([Hello])");
}

TEST(ChatTemplateTest, RefusesWhatItDoesNotSupportByLineAndName) {
  EXPECT_EQ(Write("a\n{% call x() %}"), "model: line 2: \"call\" is not supported");
  EXPECT_EQ(Write("{{ open('/etc/passwd') }}"),
            "model: line 1: function \"open\" is not supported");
  EXPECT_EQ(Write("{{ messages | tojson }}"),
            "model: line 1: filter \"tojson\" is not supported with these values");
  EXPECT_EQ(Write("{{ ''.join(messages) }}"),
            "model: line 1: method \"join\" is not supported with these values");
  EXPECT_EQ(Write("{{ 1 is filter }}"),
            "model: line 1: test \"filter\" is not supported with these values");
  EXPECT_EQ(Write("{{ '\u00e4' | upper }}"),
            "model: line 1: filter \"upper\" is not supported with these values");
  EXPECT_EQ(Write("{{ 'x'.strip('" + std::string(129, 'x') + "') }}"),
            "model: line 1: method \"strip\" is not supported with these values");
  EXPECT_EQ(Write("{{ messages.append(1) }}"),
            "model: line 1: method \"append\" is not supported with these values");
}

// As templates of Llama have it for calls of tools.
TEST(ChatTemplateTest, ReadsALoopOverPairsAndRefusesItOnlyWhereItRuns) {
  const std::string loop = "{% for name, value in m.arguments | items %}{{ name }}{% endfor %}";
  EXPECT_EQ(
      Write("{% for m in messages %}{% if 'calls' in m %}" + loop + "{% endif %}.{% endfor %}"),
      "..");
  EXPECT_EQ(Write("{% for m in messages %}\n" + loop + "{% endfor %}"),
            "model: line 2: filter \"items\" is not supported with these values");
  EXPECT_EQ(Write("{% for a, b in messages %}{% endfor %}"),
            "model: line 1: \"for\" with more than one name is not supported with these values");
  EXPECT_EQ(Write("{% for a, b in messages[2:] %}{% endfor %}"), "");
}

// They are values in Jinja, and true.
TEST(ChatTemplateTest, RefusesMethodsAndWhatJinjaKnowsByItselfAsValues) {
  EXPECT_EQ(Write("{{ messages[0].items }}"),
            "model: line 1: method \"items\" is not supported as a value");
  EXPECT_EQ(Write("{% if messages[0].content.title %}{% endif %}"),
            "model: line 1: method \"title\" is not supported as a value");
  EXPECT_EQ(Write("{{ messages.count }}"),
            "model: line 1: method \"count\" is not supported as a value");
  EXPECT_EQ(Write("{{ self }}"), "model: line 1: function \"self\" is not supported as a value");
  EXPECT_EQ(Write("{% set s = namespace(count=1) %}{{ s.count }}{{ messages[0].count }}"), "1");
}

// As parameters of tools have "items".
TEST(ChatTemplateTest, TakesMembersInBracketsThatAreNamedAsMethods) {
  EXPECT_EQ(Write("{% set p = {'items': 'a', 'count': 'b'} %}{{ p['items'] ~ p['count'] }}"), "ab");
  EXPECT_EQ(Write("{% set p = [{'items': 'a'}] %}{{ p | map(attribute='items') | join }}"), "a");
  EXPECT_EQ(Write("{% set p = {'items': 'a'} %}{{ p.items }}"),
            "model: line 1: method \"items\" is not supported as a value");
  EXPECT_EQ(Write("{% set p = {'a': 'a'} %}{{ p['items'] }}"),
            "model: line 1: method \"items\" is not supported as a value");
}

TEST(ChatTemplateTest, RefusesWhatJinjaDoesNotRead) {
  EXPECT_EQ(Write("{{ 1 +}}"), "model: line 1: an expression is missing");
  EXPECT_EQ(Write("{{ ('a' | trim).strip() ~ 'a' | trim.strip() }}"),
            "model: line 1: \".\" is not expected here");
  EXPECT_EQ(Write("{% if 1 if 2 else 3 %}{% endif %}"),
            "model: line 1: \"if\" is not expected here");
  EXPECT_EQ(Write("{{ 1 is odd if 2 }}"), "model: line 1: \"2\" is not expected here");
  EXPECT_EQ(Write("{% macro m(a=1, b) %}{% endmacro %}"),
            "model: line 1: a parameter without a default follows one with it");
  EXPECT_EQ(Write("{% set s = namespace(_a=1) %}"),
            "model: line 1: a namespace's name begins with _");
  EXPECT_EQ(Write("{% set s = namespace() %}{% set s._a = 1 %}"),
            "model: line 1: a namespace's name begins with _");
}

TEST(ChatTemplateTest, TakesASignBeforeFiltersAndTests) {
  EXPECT_EQ(Write("{{ -1 | string }}{{ -1 is odd }}{{ -messages | length }}"),
            "model: line 1: \"-\" is not for these values");
  EXPECT_EQ(Write("{{ -1 | string }}{{ -1 is odd }}"), "-1True");
}

TEST(ChatTemplateTest, KeepsALineEndBehindACommentWithAPlus) {
  EXPECT_EQ(Write("a{# c +#}\nb{# c #}\nc{#-#}\n\nd"), "a\nbc\nd");
}

TEST(ChatTemplateTest, TakesNumbersBehindDots) {
  EXPECT_EQ(Write("{{ messages.0.role }}{% for i in [1] %}{{ loop.depth }}{% endfor %}"), "user1");
  EXPECT_EQ(Write("{{ 2.0 }}"), "model: line 1: a name is missing");
}

TEST(ChatTemplateTest, RunsMacros) {
  EXPECT_EQ(Write("{% macro turn(m, end='.', begin=m.role) %}{{ begin ~ ':' ~ m.content ~ end }}"
                  "{% endmacro %}{% for m in messages %}{{ turn(m, end='!') }}{% endfor %}"),
            "user:Hi!assistant:[Hello]!");
  EXPECT_EQ(Write("{% macro down(n) %}{{ n }}{% if n > 0 %}{{ down(n - 1) }}{% endif %}"
                  "{% endmacro %}{{ down(3) }}"),
            "3210");
  EXPECT_EQ(Write("{% macro lone(a) %}{{ a is defined }}{% endmacro %}{{ lone() }}"), "False");
}

// As Jinja's, which close over the template and not over what calls them.
TEST(ChatTemplateTest, AMacroSeesTheTemplatesVariablesAlone) {
  EXPECT_EQ(Write("{% macro m() %}{{ later }}{{ inner is defined }}{% set later = 'x' %}"
                  "{% endmacro %}{% set later = 1 %}"
                  "{% for i in [1] %}{% set inner = 2 %}{{ m() }}{{ later }}{% endfor %}"),
            "1False1");
}

TEST(ChatTemplateTest, RefusesACallOfAMacroThatJinjaWouldRefuse) {
  const std::string macro = "{% macro m(a) %}{% endmacro %}";
  EXPECT_EQ(Write(macro + "{{ m(1, 2) }}"), "model: line 1: macro \"m\" takes 1 arguments");
  EXPECT_EQ(Write(macro + "{{ m(b=2) }}"), "model: line 1: macro \"m\" cannot take \"b\" so");
  EXPECT_EQ(Write(macro + "{{ m(1, a=2) }}"), "model: line 1: macro \"m\" cannot take \"a\" so");
  EXPECT_EQ(Write("{{ m(1) }}" + macro), "model: line 1: function \"m\" is not supported");
  EXPECT_EQ(Write("{% for i in [1] %}" + macro + "{% endfor %}"),
            "model: line 1: a macro inside of a loop or a macro is not supported");
  EXPECT_EQ(Write("{% macro m() %}"), "model: line 1: \"endmacro\" is missing");
}

TEST(ChatTemplateTest, SetsWhatABlockWrites) {
  EXPECT_EQ(Write("{% set a %}({{ messages[1].content }}){% set b = 1 %}{% endset %}"
                  "{{ a ~ a }}{{ b is defined }}"),
            "([Hello])([Hello])False");
  EXPECT_EQ(Write("{% set n = namespace() %}{% set n.a %}x{% endset %}{{ n.a }}"), "x");
}

TEST(ChatTemplateTest, LeavesLoopsAndSkipsTurns) {
  EXPECT_EQ(Write("{% for i in range(9) %}{% if i == 1 %}{% continue %}{% endif %}"
                  "{% if i == 4 %}{% break %}{% endif %}{{ i }}{% endfor %}."),
            "023.");
  EXPECT_EQ(Write("{% for a in [1, 2] %}{% for b in [1, 2] %}{% break %}{% endfor %}{{ a }}"
                  "{% endfor %}"),
            "12");
  EXPECT_EQ(Write("{% for m in messages[2:] %}m{% else %}none{% endfor %}"), "none");
  EXPECT_EQ(Write("{% for m in messages %}m{% else %}none{% endfor %}"), "mm");
  EXPECT_EQ(Write("{% for m in messages %}{{ m.role }}{% continue %}{% else %}none{% endfor %}"),
            "userassistantnone");
  EXPECT_EQ(Write("{% break %}"), "model: line 1: \"break\" outside of a loop");
  EXPECT_EQ(Write("{% for m in messages %}{% macro m() %}{% break %}{% endmacro %}{% endfor %}"),
            "model: line 1: \"break\" outside of a loop");
}

TEST(ChatTemplateTest, MakesRangesListsAndObjectsAsPythonDoes) {
  EXPECT_EQ(
      Write("{{ range(3) | join(',') }} {{ range(1, 3) | join }} {{ range(4, -1, -2) | join }}"
            "{{ range(3, 0) | length }}"),
      "0,1,2 12 4200");
  EXPECT_EQ(
      Write("{{ ('a', 'b',) | join }}{{ ([1] + [2])[::-1] | join }}{{ ('a') }}{{ () | length }}"),
      "ab21a0");
  EXPECT_EQ(Write("{{ {'role': 'r', 'content': messages[1].content}.content }}{{ {} | length }}"),
            "model: line 1: filter \"length\" is not supported with these values");
  EXPECT_EQ(Write("{{ {'role': 'r', 'content': messages[1].content,}.content }}"), "[Hello]");
  EXPECT_EQ(Write("{{ {'a': [1]} }}"),
            "model: line 1: a list or an object in an object is not supported");
}

TEST(ChatTemplateTest, ChangesTextAsPythonDoes) {
  EXPECT_EQ(Write("{{ messages[1].content.upper() }}{{ messages[1].content | lower }}"),
            "[HELLOhello]");
  EXPECT_EQ(Write("{{ 'uSER' | capitalize }}{{ 'uSER'.title() }}{{ 'two words' | capitalize }}"),
            "UserUserTwo words");
  EXPECT_EQ(Write("{{ messages[1].content.replace('l', '(l)') ~ ('aa' | replace('a', '')) }}"),
            "[He(l)(l)o]");
  EXPECT_EQ(Write("{{ '--a-b--'.strip('-') }}{{ '--'.strip('-') }}{{ 'xa'.lstrip('x') }}"), "a-ba");
  EXPECT_EQ(
      Write("{{ '\u00e4\u4e2d' | length }}{{ 3 | string }}{{ true | tojson }}{{ none | tojson }}"),
      "23truenull");
  EXPECT_EQ(Write("{{ '' | default('x', true) }}{{ '' | default('x', boolean=true) }}"
                  "{{ '' | default('x') }}"),
            "xx");
}

TEST(ChatTemplateTest, TestsAndSelectsAsJinjaDoes) {
  EXPECT_EQ(
      Write("{{ 3 is odd }}{{ 3 is divisibleby 2 }}{{ 'a' is in ['a'] }}{{ 'a' is eq('b') }}"
            "{{ 1 is integer }}{{ messages is sequence }}{{ messages[0].role is equalto 'user' }}"),
      "TrueFalseTrueFalseTrueTrueTrue");
  EXPECT_EQ(Write("{{ (messages | selectattr('role', 'equalto', 'user') | first).content }}"
                  "{{ messages | rejectattr('role', 'equalto', 'user') | list | length }}"
                  "{{ messages | map(attribute='content') | join('/') }}"),
            "Hi1Hi/[Hello]");
}

// In Jinja such are always true, are used up by the first who goes through them, and have no
// length and no first element by number.
TEST(ChatTemplateTest, RefusesWhatJinjaMakesLazilyWhereItDiffersFromAList) {
  const auto refusal = [](const std::string& filter) {
    return "model: line 1: what \"" + filter +
           "\" gives is supported only in \"for\", \"in\", and the filters \"list\", \"join\" and "
           "\"first\"";
  };
  EXPECT_EQ(Write("{% set s = messages | selectattr('role', 'equalto', 'system') %}"
                  "{% if s %}some{% endif %}"),
            refusal("selectattr"));
  EXPECT_EQ(Write("{% if messages | rejectattr('role') %}some{% endif %}"), refusal("rejectattr"));
  EXPECT_EQ(Write("{{ messages | map(attribute='role') | length }}"), refusal("map"));
  EXPECT_EQ(Write("{{ (messages | reverse)[0].role }}"), refusal("reverse"));
  EXPECT_EQ(Write("{{ messages | reverse == messages }}"), refusal("reverse"));
  EXPECT_EQ(Write("{{ (messages | reverse if true else 1) | list | length }}"), refusal("reverse"));
  EXPECT_EQ(Write("{% macro m(a) %}{% endmacro %}{{ m(messages | reverse) }}"), refusal("reverse"));
}

TEST(ChatTemplateTest, GoesThroughWhatJinjaMakesLazily) {
  EXPECT_EQ(Write("{% for m in messages | selectattr('content') | reverse %}{{ m.role }}"
                  "{{ loop.length }}{% endfor %}"),
            "assistant2user2");
  EXPECT_EQ(Write("{{ 'user' in messages | map(attribute='role') }}"
                  "{{ 'tool' not in messages | map(attribute='role') }}"),
            "TrueTrue");
  EXPECT_EQ(Write("{{ (messages | reverse | list)[0].role }}"
                  "{{ (messages | reverse | first).role }}"
                  "{{ messages | reverse | map(attribute='role') | join('+') }}"),
            "assistantassistantassistant+user");
}

TEST(ChatTemplateTest, WhatIsSetInAGenerationEndsWithIt) {
  EXPECT_EQ(
      Write("{% set a = 1 %}{% generation %}{% set a = 2 %}{{ a }}{% endgeneration %}{{ a }}"),
      "21");
  EXPECT_EQ(Write("{% generation %}"), "model: line 1: \"endgeneration\" is missing");
}

TEST(ChatTemplateTest, RefusesALoopWithoutItsNames) {
  EXPECT_EQ(Write("{% for a, in messages %}{% endfor %}"), "model: line 1: \"in\" is missing");
  EXPECT_EQ(Write("{% for in messages %}{% endfor %}"), "model: line 1: \"in\" is missing");
}

TEST(ChatTemplateTest, WritesTextAsJsonAndKeepsItsMarks) {
  EXPECT_EQ(Write("{{ messages[1].content | tojson }}",
                  {{"user", "a"}, {"assistant", "\"\\\n\r\t\b\f\x01 \u00e4\x7f"}}),
            "\"[\\\"\\\\\\n\\r\\t\\b\\f\\u0001 \u00e4\x7f]\"");
}

TEST(ChatTemplateTest, WritesTheDateThatATemplateHoldsForWantOfAClock) {
  EXPECT_EQ(Write("{% if strftime_now is defined %}{{ strftime_now('%d %b %Y') }}"
                  "{% else %}26 Jul 2024{% endif %}"),
            "26 Jul 2024");
  EXPECT_EQ(Write("{{ strftime_now('%Y') }}"),
            "model: line 1: function \"strftime_now\" is not supported");
}

TEST(ChatTemplateTest, TakesACharacterOfTextAsPythonDoes) {
  EXPECT_EQ(Write("{{ 'abc'[0] ~ 'abc'[-1] ~ messages[1].content[1] }}"), "ac[e]");
  EXPECT_EQ(Write("{{ 'abc'[3] is defined }}{{ 'abc'[-4] is defined }}{{ ''[0] }}"), "FalseFalse");
  EXPECT_EQ(Write("{{ '\u00e4'[0] }}"), "model: line 1: a character of text that is not ASCII");
}

TEST(ChatTemplateTest, ComparesAsPythonDoes) {
  EXPECT_EQ(Write("{{ true == 1 }}{{ 0 == false }}{{ 2 == true }}{{ 1 in [true] }}"),
            "TrueTrueFalseTrue");
  EXPECT_EQ(Write("{{ '1' == 1 }}{{ none == false }}{{ none == none }}{{ x == none }}"),
            "FalseFalseTrueFalse");
  EXPECT_EQ(Write("{{ messages[0] == messages[1] }}{{ messages[0] == messages[2] }}",
                  {{"user", "a"}, {"assistant", "a"}, {"user", "a"}}),
            "FalseTrue");
  EXPECT_EQ(Write("{{ {'a': 1} == {'a': 1} }}{{ {'a': 1} == {'a': 2} }}{{ {} == {'a': 1} }}"),
            "TrueFalseFalse");
}

// Each has what Jinja would write or refuse.
TEST(ChatTemplateTest, ANamespaceIsEqualToItselfAloneAndIsTrueAndNoObject) {
  const std::string two = "{% set a = namespace(x=1) %}{% set b = namespace(x=1) %}";
  EXPECT_EQ(Write(two + "{{ a == b }}{{ a != b }}{{ a == a }}{{ a in [b] }}{{ b in [a, b] }}"),
            "FalseTrueTrueFalseTrue");
  EXPECT_EQ(Write("{% set n = namespace() %}{% if n %}true{% endif %}{{ n is mapping }}"
                  "{{ n is sequence }}{{ n is iterable }}{{ n is defined }}{{ n == {} }}"),
            "trueFalseFalseFalseTrueFalse");
  EXPECT_EQ(Write(two + "{{ 'x' in a }}"), "model: line 1: \"in\" is not for these values");
  EXPECT_EQ(Write(two + "{{ a.get('x') }}"),
            "model: line 1: method \"get\" is not supported with these values");
  EXPECT_EQ(Write("{% set messages = {'a': 1} %}{% set messages.a = 2 %}"),
            "model: line 1: \"messages\" is no namespace");
}

TEST(ChatTemplateTest, TuplesRangesAndListsDiffer) {
  EXPECT_EQ(Write("{{ (1, 2) == [1, 2] }}{{ range(2) == [0, 1] }}{{ range(2) == (0, 1) }}"),
            "FalseFalseFalse");
  EXPECT_EQ(Write("{{ (0, 1) == (0, 1) }}{{ range(2) == range(0, 2, 1) }}"
                  "{{ range(2) | list == [0, 1] }}{{ (0, 1) | list is eq([0, 1]) }}"),
            "TrueTrueTrueTrue");
  EXPECT_EQ(Write("{{ (1, 2)[1:] == (2,) }}{{ (1, 2)[::-1] == [2, 1] }}{{ () == [] }}"
                  "{{ range(3)[1:] == range(1, 3) }}"),
            "TrueFalseFalseTrue");
  EXPECT_EQ(Write("{{ ((1,) + [2]) | length }}"), "model: line 1: \"+\" is not for these values");
  EXPECT_EQ(Write("{{ (range(1) + [2]) | length }}"),
            "model: line 1: \"+\" is not for these values");
}

TEST(ChatTemplateTest, RefusesAFunctionAsAValue) {
  const std::string macro = "{% macro m() %}x{% endmacro %}";
  EXPECT_EQ(Write("{{ m is defined }}" + macro), "False");
  EXPECT_EQ(Write(macro + "{{ m is defined }}"),
            "model: line 1: function \"m\" is not supported as a value");
  EXPECT_EQ(Write("{{ raise_exception is defined }}"),
            "model: line 1: function \"raise_exception\" is not supported as a value");
  EXPECT_EQ(Write(macro + "{% set m = 1 %}{{ m }}{{ m() }}"),
            "model: line 1: \"m\" is called and is no function");
  EXPECT_EQ(Write("{% set m = 1 %}" + macro), "model: line 1: a macro has the name of a variable");
}

TEST(ChatTemplateTest, RefusesAttributesOfAttributes) {
  EXPECT_EQ(Write("{{ messages | map(attribute='role.x') | join }}"),
            "model: line 1: filter \"map\" is not supported with these values");
  EXPECT_EQ(Write("{{ messages | selectattr('0') | list | length }}"),
            "model: line 1: filter \"selectattr\" is not supported with these values");
}

TEST(ChatTemplateTest, TakesAwayAllWhiteSpaceOfUnicodeAroundTags) {
  const std::string space = "\u00a0\u3000\x1c\n";
  EXPECT_EQ(
      Write("a" + space + "{%- if 1 -%}" + space + "b" + space + "{%- endif -%}" + space + "c"),
      "abc");
  EXPECT_EQ(Write("a\n\u3000{% if 1 %}b{% endif %}"), "a\nb");
  EXPECT_EQ(Write("a\u3000{% if 1 %}b{% endif %}"), "a\u3000b");
}

TEST(ChatTemplateTest, RefusesWhatIsNoTemplate) {
  EXPECT_EQ(Write("{{ 1"), "model: line 1: a tag does not end");
  EXPECT_EQ(Write("{# 1"), "model: line 1: a comment does not end");
  EXPECT_EQ(Write("{{ 'x }}"), "model: line 1: a text does not end");
  EXPECT_EQ(Write("{% if 1 %}"), "model: line 1: \"endif\" is missing");
  EXPECT_EQ(Write("{% endfor %}"), "model: line 1: \"endfor\" without what it belongs to");
  EXPECT_EQ(Write("{{ 1 2 }}"), "model: line 1: \"2\" is not expected here");
  EXPECT_EQ(Write("\xFF"), "model: not UTF-8 (at byte 0)");
}

TEST(ChatTemplateTest, SaysNothingOfARecordThatItRefuses) {
  EXPECT_EQ(Write("{{ raise_exception(messages[0].content) }}"),
            "model: line 1: the chat template refuses the conversation");
}

TEST(ChatTemplateTest, TakesACommaBehindTheLastArgument) {
  EXPECT_EQ(Write("{% macro m(a) %}{{ a }}{% endmacro %}{% set n = namespace(a=1, b=2,) %}"
                  "{{ m(n.b,) }}{{ none_such | default('x',) }}{{ 'a-b'.split('-',) | join }}"),
            "2xab");
  EXPECT_EQ(Write("{{ range(,) }}"), "model: line 1: \",\" is not supported here");
  EXPECT_EQ(Write("{{ range(2,,) }}"), "model: line 1: \",\" is not supported here");
}

TEST(ChatTemplateTest, RefusesAnArgumentWithoutANameBehindOneWithAName) {
  EXPECT_EQ(Write("{% macro m(a, b) %}{% endmacro %}{{ m(a=1, 2) }}"),
            "model: line 1: an argument without a name follows one with a name");
}

TEST(ChatTemplateTest, KnowsWhoSpeaksByNameAndWhatAToolAnswers) {
  const std::vector<ChatMessage> talk = {{.role = "user", .content = "Hi", .name = "ada"},
                                         {.role = "tool", .content = "7", .tool_call_id = "call-1"},
                                         {"assistant", "Hello"}};
  EXPECT_EQ(Write("{% for m in messages %}{{ m.get('name') or m['role'] }}: {{ m.content }}"
                  "{% if m.tool_call_id is defined %} of {{ m.tool_call_id }}{% endif %}; "
                  "{% endfor %}",
                  talk),
            "ada: Hi; tool: 7 of call-1; assistant: [Hello]; ");
}

}  // namespace
}  // namespace fedtune
