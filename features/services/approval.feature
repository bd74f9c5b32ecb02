@services @critical @gate
Feature: A rollback that people must approve

  Whoever starts a rollback at three in the morning should not be alone with it. Where two people are asked for, the second one
  proves with a key who it is, and is another than the one who started it. What a detection starts, a person confirms; the plan
  says what happens when nobody does.

  Background:
    Given the service "shop" with 1000 orders
    And a streaming replica
    And 30 journeys per second by 30 users

  Scenario: A second person approves it
    When release "v2-fails-checkouts" is deployed over "v1"
    Then users are harmed
    When it is rolled back by the plan "two-people"
    And "anna" starts it
    And "ben" approves it after 2 seconds
    Then service is restored within 5 minutes

  Scenario: Nobody confirms it in time, and it goes on as the plan says
    When release "v2-fails-checkouts" is deployed over "v1"
    Then users are harmed
    When it is rolled back by the plan "confirmed"
    And nobody approves it
    Then service is restored within 5 minutes
