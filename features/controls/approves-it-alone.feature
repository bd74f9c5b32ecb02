@control @services @gate
Feature: Control: somebody who approves what they started

  The plan asks for two people. There is only one.

  Background:
    Given the service "shop" with 1000 orders
    And a streaming replica
    And 30 journeys per second by 30 users

  Scenario: The one who started it approves it too
    When release "v2-fails-checkouts" is deployed over "v1"
    Then users are harmed
    When it is rolled back by the plan "two-people"
    And "anna" starts it
    And "anna" approves it after 1 seconds
    Then the drill fails because "the plan ran as written"
