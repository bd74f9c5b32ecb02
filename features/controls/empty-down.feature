@control @database @gate
Feature: Control: an empty Down that succeeds

  Nobody wrote the Down of this migration. The tool says OK and forgets the version; the column stays where it is, and
  the next deploy will fail on it. A drill that believes the tool proves nothing.

  Background:
    Given the service "shop" with 100000 orders
    And a streaming replica and a logical replica
    And 40 journeys per second by 50 users

  Scenario: The Down does nothing and says OK
    When release "v2" is deployed over "v1"
    Then nobody is harmed
    When it is rolled back by the plan "empty-down"
    Then the drill fails because "every node has the schema of before"
