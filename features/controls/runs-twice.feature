@control @database @gate
Feature: Control: a script that runs a second time

  The script adds a difference. The first run seemed to hang, so the operator ran it again; nothing in it notices.

  Background:
    Given the service "shop" with 100000 orders
    And a streaming replica
    And 30 journeys per second by 30 users

  Scenario: The difference is added twice
    When release "v2-corrupts-totals" is deployed over "v1"
    Then users are harmed
    When it is rolled back by the plan "runs-twice"
    Then the drill fails because "rows that nobody touched are unchanged"
